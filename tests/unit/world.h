/*
 * tests/unit/world.h - what unit tests share: a folder of a test's own, SQLite databases in it by SQL text, a call that
 * must succeed, and a whole world: such a database as the only source of a service with a catalog.
 *
 * Whatever goes wrong here fails the test. One thread; only the service has others.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/strbuf.h"
#include "snapshot/service/service.h"

/* The call, which fills an e of its own, succeeds; else the test fails with the error's words. */
#define ok(call)                                                                                                       \
	do {                                                                                                           \
		_Pragma("GCC diagnostic push") _Pragma("GCC diagnostic ignored \"-Wshadow\"");                         \
		struct err e = ERR_INIT;                                                                               \
		int r_ = (call);                                                                                       \
		_Pragma("GCC diagnostic pop");                                                                         \
		if (r_ < 0)                                                                                            \
			fail_msg("%s: %d %s %s", #call, r_, e.sqlstate, e.msg);                                        \
	} while (0)

/* ---- a folder ---- */

/* A new one below $TMPDIR or /tmp, for this user only. */
char *test_dir(void);
/* With everything in it; frees the path. */
void test_dir_remove(char *dir);
/* Removes these files and what SQLite and the catalog lay beside databases, then the folder, which must hold nothing
 * else; frees the path. */
#define test_dir_end(dir, ...) test_dir_end_files((dir), (const char *const[]){__VA_ARGS__, NULL})
void test_dir_end_files(char *dir, const char *const *files);

/* ---- SQLite databases ---- */

void sql(const char *path, const char *text);
/* Adds the rows of a query, "a|b|NULL|" and a line feed each; nothing when it cannot be run (no such table). */
void sql_rows(const char *path, const char *query, struct strbuf *out);

/* ---- a world ---- */

struct world {
	char *dir, *db, *catalog_path;
	struct requester me;
	/* while it is open: */
	struct config config;
	struct service *service;
	struct catalog *catalog; /* the service's */
};

/* A database that this text makes, and nothing open. */
void world_new(struct world *w, const char *text);
/* options: "" or "?fail=..." for the fake driver. Everything may be restored over. */
void world_open(struct world *w, const char *options);
void world_close(struct world *w);
/* Tests remove what they have put in its folder. */
void world_end(struct world *w);

/* A snapshot of this name that is complete. */
int64_t take(struct world *w, const char *name);
