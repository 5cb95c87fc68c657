/*
 * snapshot/service/service.c - see service.h: what is opened, settled, interrupted and closed as a whole.
 */
#include "snapshot/service/service.h"

#include "snapshot/service/internal.h"

void service_interrupt(struct service *svc, struct waiter *w)
{
	atomic_store(&w->interrupted, true);
	MUTEX_GUARD(&svc->mutex);
	looks_cancel(svc, w);
	for (size_t i = 0; i < svc->n_sources; i++)
		if (svc->source[i].job && svc->source[i].job->waiter == w)
			job_cancel(svc->source[i].job);
	(void)pthread_cond_broadcast(&svc->changed);
}

int service_open(struct service **ret, const struct config *config, struct err *e)
{
	_cleanup_(cleanup_service) struct service *svc = xcalloc(1, sizeof *svc);
	svc->config = config;
	(void)pthread_mutex_init(&svc->mutex, NULL);
	(void)pthread_cond_init(&svc->changed, NULL);
	int r = catalog_open(&svc->catalog, config->catalog_path, CATALOG_WRITE, e);
	if (r < 0)
		return r;
	(void)catalog_set_cache_bytes(svc->catalog, (size_t)(config->cache_mb ? config->cache_mb : 32) << 20);
	svc->source = xcalloc(config->n_sources, sizeof *svc->source);
	for (size_t i = 0; i < config->n_sources; i++) {
		svc->source[i].config = &config->sources[i];
		r = catalog_source(svc->catalog, config->sources[i].name, &svc->source[i].id, e);
		if (r < 0)
			return r;
		svc->n_sources++;
	}
	bool swept = false;
	for (size_t i = 0; i < svc->n_sources && r == 0; i++)
		r = service_recover(svc, i, &swept, e);
	if (r < 0)
		return r;
	if (swept) {
		(void)store_remove_unlisted(svc->catalog, ERR_DROP);
		service_sweep(svc);
	}
	*ret = TAKE_PTR(svc);
	return 0;
}

void service_close(struct service *svc)
{
	if (!svc)
		return;
	{
		MUTEX_GUARD(&svc->mutex);
		svc->closing = true;
		svc->on_change = NULL;
		for (size_t i = 0; i < svc->n_sources; i++)
			if (svc->source[i].job)
				job_cancel(svc->source[i].job);
		looks_cancel(svc, NULL);
		(void)pthread_cond_broadcast(&svc->changed);
		for (bool busy = true; busy;) {
			busy = svc->threads > 0 || svc->looks;
			for (size_t i = 0; i < svc->n_sources; i++)
				busy = busy || svc->source[i].job;
			if (busy)
				(void)pthread_cond_wait(&svc->changed, &svc->mutex);
		}
	}
	catalog_close(svc->catalog);
	for (size_t i = 0; i < svc->n_sources; i++)
		strbuf_done(&svc->source[i].preflight);
	free(svc->source);
	(void)pthread_cond_destroy(&svc->changed);
	(void)pthread_mutex_destroy(&svc->mutex);
	free(svc);
}
