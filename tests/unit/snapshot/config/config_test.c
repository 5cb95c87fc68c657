/*
 * tests/unit/snapshot/config/config_test.c - snapshot/config/config.c: what a configuration may say, and that nothing
 * else passes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <sys/stat.h>

#include "snapshot/config/config.h"
#include "tests/unit/world.h"

static void test_write(const char *path, const char *text, mode_t mode)
{
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
	assert_int_equal(fclose(f), 0);
	assert_int_equal(chmod(path, mode), 0);
}

static int load(struct config *c, const char *text, mode_t mode, struct err *e)
{
	char *dir = test_dir();
	_cleanup_free_ char *path = xasprintf("%s/metasnap.conf", dir);
	test_write(path, text, mode);
	*e = ERR_INIT;
	int r = config_load(c, path, e);
	test_dir_end(dir, "metasnap.conf");
	return r;
}

static void test_whole(void **state)
{
	struct config c;
	struct err e;
	assert_int_equal(
	    load(&c,
		 "\xEF\xBB\xBF# comment\r\n"
		 "; comment that is much longer than what libinih takes in one go ...................................."
		 "...................................................................................................\n"
		 "[catalog]\n"
		 "path = state/c.db   ; inline\n"
		 "\tcache_mb=64\n"
		 "[source prod]\n"
		 "   url=postgresql://u@h:5433/db?sslmode=verify-full&sslrootcert=ca.pem\n"
		 "   schema=om\n"
		 "   restore=replace\n"
		 "   exclude= a*, b ,c\n"
		 "   now_max_age=0\n"
		 "   restore_confirm=yes\n"
		 "   restore_force=no\n"
		 "   password_file=pw\n"
		 "[source small]\n"
		 "url: sqlite:x/y.db",
		 0644, &e),
	    0);
	assert_string_equal(e.msg, "");
	assert_int_equal(c.n_sources, 2);
	assert_int_equal(c.cache_mb, 64);
	const char *dir_end = strrchr(c.path, '/');
	_cleanup_free_ char *dir = xmemdup0(c.path, (size_t)(dir_end - c.path));
	_cleanup_free_ char *catalog = xasprintf("%s/state/c.db", dir);
	_cleanup_free_ char *ca = xasprintf("%s/ca.pem", dir);
	_cleanup_free_ char *db = xasprintf("%s/x/y.db", dir);
	_cleanup_free_ char *pw = xasprintf("%s/pw", dir);
	assert_string_equal(c.catalog_path, catalog);
	const struct source_config *s = &c.sources[0];
	assert_string_equal(s->name, "prod");
	assert_string_equal(s->params.schema, "om");
	assert_string_equal(s->params.options[1], "verify-full");
	assert_string_equal(s->params.options[3], ca);
	assert_int_equal(s->params.port, 5433);
	assert_int_equal(s->restore, RESTORE_REPLACE);
	assert_string_equal(s->params.exclude[0], "a*");
	assert_string_equal(s->params.exclude[1], "b");
	assert_string_equal(s->params.exclude[2], "c");
	assert_null(s->params.exclude[3]);
	assert_int_equal(s->now_max_age_s, 0);
	assert_true(s->restore_confirm);
	assert_false(s->restore_force);
	assert_string_equal(s->password_file, pw);
	s = &c.sources[1];
	assert_string_equal(s->params.database, db);
	assert_int_equal(s->restore, RESTORE_EMPTY);
	assert_int_equal(s->now_max_age_s, 60);
	assert_null(s->password_file);
	config_done(&c);
}

/* A value longer than any buffer of libinih comes through unchanged, comment signs and spaces included. */
static void test_long_values(void **state)
{
	for (size_t n = 150; n < 900; n += 7) {
		_cleanup_strbuf_ struct strbuf text = {0}, value = {0};
		for (size_t i = 0; value.len < n; i++)
			strbuf_addf(&value, "%zu%s", i, i % 3 ? "," : i % 5 ? ";x," : "#=:[y], ");
		strbuf_adds(&value, "end");
		strbuf_addf(&text, "[source a]\nexclude=%s ; comment,", value.data);
		for (size_t i = 0; i < n; i++)
			strbuf_adds(&text, i % 7 ? "c" : " ");
		strbuf_adds(&text, "\nurl=sqlite:/x\n");
		struct config c;
		struct err e;
		assert_int_equal(load(&c, text.data, 0644, &e), 0);
		_cleanup_strbuf_ struct strbuf got = {0};
		for (char **g = c.sources[0].params.exclude; *g; g++)
			strbuf_addf(&got, "%s%s", got.len ? "," : "", *g);
		_cleanup_strbuf_ struct strbuf want = {0};
		for (size_t i = 0; i < value.len; i++)
			if (value.data[i] != ' ')
				strbuf_addch(&want, value.data[i]);
		assert_string_equal(strbuf_str(&got), want.data);
		assert_string_equal(c.sources[0].params.database, "/x");
		config_done(&c);
	}
	_cleanup_strbuf_ struct strbuf text = {0};
	strbuf_adds(&text, "[source a]\nurl=sqlite:/x\nexclude=a");
	for (int i = 0; i < 400; i++)
		strbuf_addch(&text, ' ');
	strbuf_adds(&text, "b\n");
	struct config c;
	struct err e;
	assert_int_equal(load(&c, text.data, 0644, &e), -EINVAL);
	assert_non_null(strstr(e.msg, ":3: the line is too long"));
}

static void test_refusals(void **state)
{
	static const struct {
		const char *text;
		const char *words;
	} cases[] = {
	    {"", "no [source NAME]"},
	    {"[source a]\n", ":1: source \"a\" has no url"},
	    {"[source a]\n[source b]\nurl=sqlite:x\n", ":1: source \"a\" has no url"},
	    {"[source a]\nurl=sqlite:x\n[source a]\nurl=sqlite:y\n", ":3: source \"a\" is there twice"},
	    {"[source a]\nurl=sqlite:x\n[sources b]\n", ":3: unknown section [sources b]"},
	    {"[source]\n", ":1: unknown section [source]"},
	    {"[source ]\n", ":1: a source's name"},
	    {"[source a/b]\n", ":1: a source's name"},
	    {"[source .a]\n", ":1: a source's name"},
	    {"[source README.txt]\n", ":1: a source's name"},
	    {"[source aaaaaaaaaabbbbbbbbbbccccccccccddddddddddx]\n", ":1: a source's name"},
	    {"[source a\nurl=sqlite:x\n", ":1: a section is"},
	    {"[source a] url=sqlite:x\n", ":1: a section is"},
	    {"[catalog]\n[catalog]\n", ":2: [catalog] is there twice"},
	    {"url=sqlite:x\n", ":1: it belongs into a section"},
	    {"[source a]\nurl=sqlite:x\nrestor=replace\n", ":3: unknown key \"restor\" in [source a]"},
	    {"[source a]\nurl=sqlite:x\npath=replace\n", ":3: unknown key \"path\" in [source a]"},
	    {"[catalog]\nurl=sqlite:x\n", ":2: unknown key \"url\" in [catalog]"},
	    {"[source a]\nurl=sqlite:x\n\n\nurl=sqlite:y\n", ":5: url is given twice"},
	    {"[source a]\nurl=sqlite:x\n  restore\n", ":3: not key=value"},
	    {"[source a]\nurl=sqlite:x\nrestore", ":3: not key=value"},
	    {"[source a]\nurl=\n", ":2: url has no value"},
	    {"[source a]\nurl=sqlite:x\nrestore=yes\n", ":3: restore is not off, empty or replace"},
	    {"[source a]\nrestore_confirm=true\nurl=sqlite:x\n", ":2: restore_confirm is not"},
	    {"[source a]\nurl=sqlite:x\nnow_max_age=1m\n", ":3: now_max_age is not a whole number"},
	    {"[source a]\nurl=sqlite:x\nnow_max_age=-1\n", ":3: now_max_age is not a whole number"},
	    {"[source a]\nurl=sqlite:x\nexclude=, ,\n", ":3: exclude names nothing"},
	    {"[source a]\nurl=sqlite:x\nschema=b\n", ":3: schema is for PostgreSQL only"},
	    {"[source a]\nurl=postgresql://h/d?schema=a\nschema=b\n", ":3: the url names another schema"},
	    {"[source a]\nurl=oracle://h/d\n", ":2: database URL"},
	    {"[source a]\nurl=mysql://u:p@h/d\npassword_file=x\n", ":3: password_file, and a password in the url"},
	    {"[catalog]\ncache_mb=x\n", ":2: cache_mb is not"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct config c;
		struct err e;
		int r = load(&c, cases[i].text, 0600, &e);
		if (r != -EINVAL || !strstr(e.msg, cases[i].words))
			fail_msg("\"%s\" gave %d \"%s\", not \"%s\"", cases[i].text, r, e.msg, cases[i].words);
		assert_null(c.sources);
	}
	struct config c;
	struct err e = ERR_INIT;
	assert_int_equal(config_load(&c, "/nonexistent/x", &e), -ENOENT);
	assert_int_equal(config_load(&c, "/nonexistent/x", ERR_DROP), -ENOENT);
}

static void test_private(void **state)
{
	struct config c;
	struct err e;
	const char *with = "[source a]\nurl=mysql://u:secret@h/d\n";
	assert_int_equal(load(&c, with, 0644, &e), -EACCES);
	assert_null(strstr(e.msg, "secret"));
	assert_int_equal(load(&c, with, 0640, &e), -EACCES);
	assert_int_equal(load(&c, with, 0600, &e), 0);
	assert_string_equal(c.sources[0].params.password, "secret");
	assert_int_equal(config_read_password(&c.sources[0], &e), 0);
	assert_string_equal(c.sources[0].params.password, "secret");
	config_done(&c);
}

static void test_password_file(void **state)
{
	char *dir = test_dir();
	_cleanup_free_ char *path = xasprintf("%s/pw", dir);
	struct source_config s = {.password_file = path};
	struct err e = ERR_INIT;
	assert_int_equal(config_read_password(&s, &e), -ENOENT);
	test_write(path, "top secret\r\nsecond line\n", 0600);
	assert_int_equal(config_read_password(&s, &e), 0);
	assert_string_equal(s.params.password, "top secret");
	test_write(path, " rotated ", 0400);
	assert_int_equal(config_read_password(&s, &e), 0);
	assert_string_equal(s.params.password, " rotated ");
	assert_int_equal(chmod(path, 0404), 0);
	assert_int_equal(config_read_password(&s, &e), -EACCES);
	assert_non_null(strstr(e.msg, "others can read it"));
	assert_string_equal(s.params.password, " rotated ");
	assert_int_equal(chmod(path, 0600), 0);
	test_write(path, "\nx\n", 0600);
	assert_int_equal(config_read_password(&s, &e), -EINVAL);
	test_dir_end(dir, "pw");
	db_params_done(&s.params);
}

static void test_url(void **state)
{
	static const struct {
		const char *url;
		const char *name;
	} cases[] = {
	    {"postgresql://h/openmetadata_db", "openmetadata_db"},
	    {"mysql://h/a%20b%2Fc", "a_b_c"},
	    {"sqlite:/x/y/meta.data.db", "meta.data"},
	    {"sqlite:/x/.hidden", "_hidden"},
	    {"postgresql://h", "postgresql"},
	    {"mysql://h/aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeee", "aaaaaaaaaabbbbbbbbbbccccccccccdddddddddd"},
	};
	struct config c;
	struct err e = ERR_INIT;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		assert_int_equal(config_from_url(&c, cases[i].url, NULL, &e), 0);
		assert_int_equal(c.n_sources, 1);
		assert_string_equal(c.sources[0].name, cases[i].name);
		assert_null(c.path);
		config_done(&c);
	}
	assert_int_equal(config_from_url(&c, "sqlite:rel.db", "n", &e), 0);
	assert_string_equal(c.sources[0].name, "n");
	_cleanup_free_ char *here = getcwd(NULL, 0);
	_cleanup_free_ char *db = xasprintf("%s/rel.db", here);
	assert_string_equal(c.sources[0].params.database, db);
	config_done(&c);
	assert_int_equal(config_from_url(&c, "sqlite:rel.db", "a/b", &e), -EINVAL);
	assert_int_equal(config_from_url(&c, "nothing", NULL, &e), -EINVAL);
	config_done(&c); /* zeroed: allowed */
}

static void test_default_catalog(void **state)
{
	assert_int_equal(setenv("METASNAP_CATALOG", "/c/x.db", 1), 0);
	_cleanup_free_ char *a = config_default_catalog();
	assert_string_equal(a, "/c/x.db");
	assert_int_equal(unsetenv("METASNAP_CATALOG"), 0);
	assert_int_equal(setenv("XDG_STATE_HOME", "/s", 1), 0);
	_cleanup_free_ char *b = config_default_catalog();
	assert_string_equal(b, "/s/metasnap/catalog.db");
	assert_int_equal(unsetenv("XDG_STATE_HOME"), 0);
	assert_int_equal(setenv("HOME", "/h", 1), 0);
	_cleanup_free_ char *c = config_default_catalog();
	assert_string_equal(c, "/h/.local/state/metasnap/catalog.db");
}

static void test_policy(void **state)
{
	enum restore_policy p = RESTORE_EMPTY;
	assert_int_equal(restore_policy_parse("off", &p), 0);
	assert_int_equal(p, RESTORE_OFF);
	assert_int_equal(restore_policy_parse("Replace", &p), -EINVAL);
	assert_int_equal(p, RESTORE_OFF);
	assert_string_equal(restore_policy_name(RESTORE_REPLACE), "replace");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_whole),   cmocka_unit_test(test_long_values),     cmocka_unit_test(test_refusals),
	    cmocka_unit_test(test_private), cmocka_unit_test(test_password_file),   cmocka_unit_test(test_url),
	    cmocka_unit_test(test_policy),  cmocka_unit_test(test_default_catalog),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
