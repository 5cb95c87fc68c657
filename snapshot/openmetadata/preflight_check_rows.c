/*
 * snapshot/openmetadata/preflight_check_rows.c - the checks of what was found in the rows, and of what lies outside of
 * the database. No state.
 */
#include "snapshot/openmetadata/internal.h"

#include <inttypes.h>

#include "snapshot/openmetadata/preflight_facts.h"
#include "snapshot/openmetadata/preflight_server.h"

static void say_found(struct preflight_line *l, enum preflight_status status, const struct preflight_found *f,
		      const char *one, const char *many)
{
	_cleanup_strbuf_ struct strbuf names = {0};
	if (!f->n)
		return;
	preflight_found_text(f, &names);
	preflight_say(l, status, "%s%" PRIu64 " %s: %s", l->found.len ? "; " : "", f->n, f->n == 1 ? one : many,
		      strbuf_str(&names));
}

static void say_none(struct preflight_line *l, bool there, const char *what, const char *table)
{
	if (!l->found.len)
		preflight_say(l, there ? PREFLIGHT_OK : PREFLIGHT_INFO, there ? "%s" : "%s: there is no table %s", what,
			      there ? "" : table);
}

void preflight_check_airflow_mssql(const struct preflight_facts *f, struct preflight_line *l)
{
	say_found(l, PREFLIGHT_FAIL, &f->rows.mssql, "Airflow pipeline service whose metadata database is MSSQL",
		  "Airflow pipeline services whose metadata database is MSSQL");
	if (f->rows.mssql.n)
		preflight_advise(
		    l, "1.3.0 takes that option away: move Airflow's own database to MySQL or PostgreSQL, then "
		       "correct the "
		       "service's connection.\n");
	say_found(l, PREFLIGHT_WARN, &f->rows.mssql_hidden, "Airflow service whose connection cannot be read here",
		  "Airflow services whose connection cannot be read here");
	if (f->rows.mssql_hidden.n)
		preflight_advise(
		    l, "Look yourself whether their metadata database is MSSQL (Settings, Services, Pipelines).\n");
	say_none(l, f->rows.pipelines, "no Airflow service with an MSSQL metadata database", "pipeline_service_entity");
}

void preflight_check_bots_jwt(const struct preflight_facts *f, struct preflight_line *l)
{
	say_found(l, PREFLIGHT_FAIL, &f->rows.bots, "bot that does not log in by JWT",
		  "bots that do not log in by JWT");
	say_found(l, PREFLIGHT_WARN, &f->rows.bots_without, "bot without a way to log in",
		  "bots without a way to log in");
	if (l->found.len)
		preflight_advise(
		    l, "From 1.3.0 on the Python SDK knows JWT only: Settings, Bots, generate a JWT token for each, "
		       "and put it "
		       "where the bot runs.\n");
	say_none(l, f->rows.users, "every bot logs in by JWT", "user_entity");
}

void preflight_check_search_reindex(const struct preflight_facts *f, struct preflight_line *l)
{
	say_found(l, PREFLIGHT_FAIL, &f->rows.reindexing, "ingestion pipeline that reindexes Elasticsearch",
		  "ingestion pipelines that reindex Elasticsearch");
	say_found(l, PREFLIGHT_WARN, &f->rows.reindexing_dags, "DAG metadata_to_es among the pipelines",
		  "DAGs metadata_to_es among the pipelines");
	if (l->found.len)
		preflight_advise(
		    l,
		    "The server reindexes by itself since 1.3.0 (Settings, Applications, Search Indexing): delete the "
		    "pipeline, and its DAG in Airflow.\n");
	say_none(l, f->rows.ingestion, "no ingestion pipeline reindexes Elasticsearch", "ingestion_pipeline_entity");
}

void preflight_check_custom_connectors(const struct preflight_facts *f, struct preflight_line *l)
{
	say_found(l, PREFLIGHT_WARN, &f->rows.custom, "service with a connector of your own",
		  "services with a connector of your own");
	if (l->found.len)
		preflight_advise(
		    l,
		    "Their code must change for 1.3.0:\n"
		    "from metadata.generated.schema.entity.services.ingestionPipelines.status import StackTraceError\n"
		    "and StackTraceError's property stack_trace is called stackTrace.\n");
	say_none(l, f->rows.services, "no service has a connector of your own", "*_service_entity");
}

/* ---- what lies elsewhere ---- */

void preflight_check_secrets_manager(const struct preflight_facts *f, struct preflight_line *l)
{
	preflight_secrets_manager(f->rq->source->openmetadata_config, l);
}

void preflight_check_airflow_lineage(const struct preflight_facts *f, struct preflight_line *l)
{
	(void)f;
	preflight_say(l, PREFLIGHT_INFO, "DAGs that give their lineage as a dictionary are not seen from here");
	preflight_advise(
	    l, "inlets={\"tables\": [...]} is deprecated, and from 1.4 on works for tables only. The newer form:\n"
	       "from metadata.ingestion.source.pipeline.airflow.lineage_parser import OMEntity\n"
	       "inlets=[OMEntity(entity=Table, fqn=\"service.db.schema.table\", key=\"group\")]\n");
}
