/*
 * snapshot/openmetadata/preflight_check_rights.c - the checks of what the account may do. No state.
 */
#include "snapshot/openmetadata/internal.h"

#include <unistd.h>

#include "snapshot/openmetadata/preflight_facts.h"

/* Names what is lacking and gives each statement once. */
static size_t tell_lacks(const struct preflight_facts *f, bool restore, struct preflight_line *l)
{
	const struct db_examination *x = &f->server;
	size_t n = 0, statements = 0;
	for (size_t i = 0; i < x->n_lacks; i++) {
		const struct db_lack *lack = &x->lacks[i];
		if (lack->restore != restore)
			continue;
		if (n++ < PREFLIGHT_NAMED) {
			strbuf_adds(&l->found, n > 1 ? "; " : "");
			preflight_add_name(&l->found, lack->right, strlen(lack->right));
		}
		bool known = false;
		for (size_t k = 0; k < i && !known; k++)
			known = x->lacks[k].restore == restore && !strcmp(x->lacks[k].statement, lack->statement);
		if (!known && statements++ < PREFLIGHT_NAMED) {
			preflight_add_name(&l->todo, lack->statement, strlen(lack->statement));
			strbuf_addch(&l->todo, '\n');
		}
	}
	if (n > PREFLIGHT_NAMED)
		strbuf_addf(&l->found, " and %zu more", n - PREFLIGHT_NAMED);
	if (statements > PREFLIGHT_NAMED)
		preflight_advise(l, "and %zu more such statements.\n", statements - PREFLIGHT_NAMED);
	return n;
}

static size_t count_lacks(const struct db_examination *x, bool restore)
{
	size_t n = 0;
	for (size_t i = 0; i < x->n_lacks; i++)
		n += x->lacks[i].restore == restore;
	return n;
}

void preflight_check_privileges_snapshot(const struct preflight_facts *f, struct preflight_line *l)
{
	const char *account = f->server.account ? f->server.account : "this user";
	const struct err *why = f->unread.code ? &f->unread : &f->unfit;
	size_t n = f->unexamined.code ? 0 : count_lacks(&f->server, false);
	if (n) {
		preflight_say(l, PREFLIGHT_FAIL, "%s lacks what a snapshot needs: ", account);
		(void)tell_lacks(f, false, l);
	} else if (why->code) {
		preflight_say(l, PREFLIGHT_FAIL, "a snapshot cannot be taken: %s", why->msg);
	} else if (f->unexamined.code) {
		preflight_say(l, PREFLIGHT_WARN, "not known: %s", f->unexamined.msg);
	} else {
		preflight_say(l, PREFLIGHT_OK, "%s has what a snapshot needs", account);
	}
}

static bool file_is_writable(const struct preflight_facts *f)
{
	return !access(f->rq->source->params.database, W_OK);
}

void preflight_check_privileges_restore(const struct preflight_facts *f, struct preflight_line *l)
{
	const char *account = f->server.account ? f->server.account : "this user";
	bool off = f->rq->source->restore == RESTORE_OFF;
	if (f->unexamined.code) {
		preflight_say(l, PREFLIGHT_WARN, "not known: %s", f->unexamined.msg);
	} else if (preflight_is_embedded(f) && !file_is_writable(f)) {
		preflight_say(l, off ? PREFLIGHT_INFO : PREFLIGHT_FAIL, "%s cannot be written by this user",
			      f->rq->source->params.database);
	} else if (count_lacks(&f->server, true) + count_lacks(&f->server, false) == 0) {
		preflight_say(l, PREFLIGHT_OK, "%s has what a restore needs%s", account, off ? " (restore = off)" : "");
	} else if (count_lacks(&f->server, true) == 0) {
		preflight_say(l, off ? PREFLIGHT_INFO : PREFLIGHT_FAIL, "%s lacks what already a snapshot needs",
			      account);
	} else {
		preflight_say(l, off ? PREFLIGHT_INFO : PREFLIGHT_FAIL, "%s lacks what a restore needs: ", account);
		(void)tell_lacks(f, true, l);
	}
	if (off && l->status == PREFLIGHT_INFO)
		preflight_advise(l, "restore = off for this source: have another account at hand that can restore.\n");
}
