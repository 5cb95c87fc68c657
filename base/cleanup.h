/*
 * base/cleanup.h - cleanup by attribute: a resource is released where its variable's scope ends.
 *
 * Ownership leaves a scope with TAKE_PTR. Every destructor used here accepts NULL (or -1 for descriptors).
 */
#pragma once

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(fn) __attribute__((cleanup(fn)))

#define TAKE_PTR(p)                                                                                                    \
	__extension__({                                                                                                \
		__typeof__(p) p_ = (p);                                                                                \
		(p) = NULL;                                                                                            \
		p_;                                                                                                    \
	})

#define TAKE_FD(fd)                                                                                                    \
	__extension__({                                                                                                \
		int fd_ = (fd);                                                                                        \
		(fd) = -1;                                                                                             \
		fd_;                                                                                                   \
	})

/* Defines cleanup function `name` for variables of pointer type `type *`, calling fn(variable). */
#define DEFINE_CLEANUP(name, type, fn)                                                                                 \
	static inline void name(type **p)                                                                              \
	{                                                                                                              \
		fn(*p);                                                                                                \
	}                                                                                                              \
	struct cleanup_needs_semicolon_##name

static inline void cleanup_free(void *p)
{
	free(*(void **)p);
}

static inline void cleanup_close(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
}

static inline void cleanup_fclose(FILE **f)
{
	if (*f)
		(void)fclose(*f);
}

static inline void cleanup_unlock(pthread_mutex_t **m)
{
	if (*m)
		(void)pthread_mutex_unlock(*m);
}

static inline pthread_mutex_t *lock_mutex(pthread_mutex_t *m)
{
	(void)pthread_mutex_lock(m);
	return m;
}

#define CLEANUP_CAT_(a, b) a##b
#define CLEANUP_CAT(a, b) CLEANUP_CAT_(a, b)
/* Holds mutex *m until the end of the scope. */
#define MUTEX_GUARD(m)                                                                                                 \
	_cleanup_(cleanup_unlock) pthread_mutex_t *CLEANUP_CAT(guard_, __LINE__) __attribute__((unused)) = lock_mutex(m)

#define _cleanup_free_ _cleanup_(cleanup_free)
#define _cleanup_close_ _cleanup_(cleanup_close)
#define _cleanup_fclose_ _cleanup_(cleanup_fclose)
