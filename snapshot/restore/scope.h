/*
 * snapshot/restore/scope.h - what of a snapshot a restore brings back, as the journal keeps it while the restore is under
 * way: after a crash only that is compared. No state; any thread.
 */
#pragma once

struct restore_scope {
	char *entity;  /* "TABLE/ROW"; NULL: not one entity */
	char **tables; /* NULL-terminated; NULL: not these only */
};

/* In front of the words of a restore that has begun: "entity TABLE/ROW" or "tables FILE/FILE" by their file names; NULL:
 * everything. The caller frees. */
char *restore_scope_text(const char *entity, char *const *tables);
/* From words that begin so, to their end or a tab; detail may be NULL. */
void restore_scope_read(const char *detail, struct restore_scope *ret);
void restore_scope_done(struct restore_scope *s);
