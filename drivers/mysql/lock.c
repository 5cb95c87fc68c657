/*
 * drivers/mysql/lock.c - what a transaction holds at the server: the lock of one restore against the other, and the
 * pins of its tables.
 *
 * Runs on the connection's thread, takes no lock of this process. For writing the pins are locking reads of all rows.
 */
#include <errno.h>
#include <string.h>

#include "drivers/mysql/internal.h"

static const char *const my_lock_words[MY_N_LOCKS] = {"restore", "build", "load 1", "load 2"};

int my_lock_advisory(struct my_conn *c, const char *database, enum my_lock lock, unsigned wait_s, struct err *e)
{
	_cleanup_free_ char *got = NULL;
	/* At most 64 characters. Not MD5(): MySQL 9.7 has it in a component only. */
	int r = my_select_one(c, &got, e, "SELECT GET_LOCK(CONCAT('metasnap:', %q, ':', LEFT(SHA2(%q, 256), 32)), %u)",
			      my_lock_words[lock], database, wait_s);

	if (r < 0)
		return r;
	if (!got || strcmp(got, "1") != 0)
		return err_set(e, EBUSY, "another restore of database %s is running", database);
	c->advisory = true;
	return 0;
}

void my_unlock_advisory(struct my_conn *c)
{
	if (c->advisory)
		(void)mysql_query(c->my, "DO RELEASE_ALL_LOCKS()");
	c->advisory = false;
}

/*
 * For writing, a locking read of the whole clustered index (USE INDEX () forbids every other way) takes the rows and
 * the gaps between, before and after them: nothing can be changed or inserted until the end, in empty tables and in
 * tables without a key neither. LOCK TABLES would be quicker, but it stops every reader and waits for each idle
 * transaction.
 */
static int my_pin_one(struct my_conn *c, const char *name, enum db_access access, struct err *e)
{
	int r = my_exec(c, e,
			access == DB_WRITE ? "SELECT COUNT(*) FROM %i USE INDEX () FOR UPDATE"
					   : "SELECT 1 FROM %i WHERE FALSE",
			name);

	/* Dropped or renamed since the list was made. */
	if (r < 0 && my_last_errno(c) == MY_ER_NO_SUCH_TABLE)
		r = err_set(e, EAGAIN, "table %s went away", name);
	if (r == -EBUSY)
		return err_prefix(
		    e, "table %s: another session holds a lock on it (an open transaction, ALTER TABLE, LOCK TABLES?)",
		    name);
	return r < 0 ? err_prefix(e, "table %s", name) : 0;
}

/* Many tables in one statement; where that fails, one by one, to name the table in the way. */
static int my_pin_read(struct my_conn *c, char *const *names, size_t n, struct err *e)
{
	_cleanup_strbuf_ struct strbuf sql = {0};

	for (size_t i = 0; i < n; i++)
		my_sql(&sql, "%sSELECT 1 FROM %i WHERE FALSE", i ? " UNION ALL " : "", names[i]);
	int r = my_exec_len(c, e, strbuf_str(&sql), sql.len);
	if (r == 0 || r == -EINTR || r == -ECONNRESET)
		return r;
	/* A deadlock has undone the transaction, and what was pinned before with it. */
	if (r == -EAGAIN)
		return r;
	r = my_exec(c, e, "SET SESSION lock_wait_timeout=1");
	for (size_t i = 0; r == 0 && i < n; i++)
		r = my_pin_one(c, names[i], DB_READ, e);
	int q = my_exec(c, r == 0 ? e : ERR_DROP, "SET SESSION lock_wait_timeout=" MY_LOCK_WAIT_S);
	return r < 0 ? r : q;
}

int my_pin(struct my_conn *c, const struct my_names *names, enum db_access access, struct err *e)
{
	size_t step = access == DB_WRITE ? 1 : MY_BATCH_TABLES;

	for (size_t i = 0; i < names->n; i += step) {
		size_t n = names->n - i < step ? names->n - i : step;
		int r = access == DB_WRITE ? my_pin_one(c, names->names[i], access, e)
					   : my_pin_read(c, names->names + i, n, e);
		if (r < 0)
			return r;
	}
	return 0;
}
