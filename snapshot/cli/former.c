/*
 * snapshot/cli/former.c - the connection options of OpenMetadata's former command line, turned into a database URL.
 *
 * Owns the copy of the password and the URL; both are wiped. The main thread only. Messages quote keys, never values.
 */
#include "snapshot/cli/former.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <strings.h>

#include "base/strbuf.h"
#include "base/text.h"

static void former_add_setting(struct former *f, char *text)
{
	f->settings = xrealloc(f->settings, (f->n_settings + 2) * sizeof *f->settings);
	f->settings[f->n_settings++] = text;
	f->settings[f->n_settings] = NULL;
}

static void former_forget(char *secret)
{
	if (secret)
		explicit_bzero(secret, strlen(secret));
	free(secret);
}

/* The password is not left where `ps` shows it. */
static void former_take_password(struct former *f, char *value)
{
	former_forget(f->password);
	f->password = xstrdup(value);
	memset(value, 'x', strlen(value));
}

int former_take(struct former *f, enum former_option o, char *value, char **rest, size_t n_rest, struct err *e)
{
	const char **const text[] = {
	    [FORMER_HOST] = &f->host,     [FORMER_USER] = &f->user,     [FORMER_DATABASE] = &f->database,
	    [FORMER_PORT] = &f->port,     [FORMER_SCHEMA] = &f->schema, [FORMER_INPUT] = &f->input,
	    [FORMER_OUTPUT] = &f->output, [FORMER_UPLOAD] = NULL,
	};
	size_t taken = 0;
	f->named |= o != FORMER_INPUT && o != FORMER_OUTPUT;
	switch (o) {
	case FORMER_PASSWORD:
		former_take_password(f, value);
		return 0;
	case FORMER_SETTING:
		former_add_setting(f, value);
		while (taken < n_rest && rest[taken][0] != '-' && strpbrk(rest[taken], ":="))
			former_add_setting(f, rest[taken++]);
		return (int)taken;
	case FORMER_UPLOAD:
		return err_set(
		    e, EINVAL,
		    "uploads are not done here: run `aws s3 cp FILE s3://BUCKET/KEY`, azcopy or rclone on the file "
		    "that was written");
	default:
		if (!*value)
			return err_set(e, EINVAL, "an option has an empty value");
		*text[o] = value;
		return 0;
	}
}

bool former_is_given(const struct former *f)
{
	return f->named || f->input;
}

static void former_encode(struct strbuf *url, const char *text)
{
	percent_encode(url, text, strlen(text), "-._~");
}

/* `key:value` or `key=value` of -o (SQLAlchemy's query) and -a (the driver's connect arguments): what means the same to
 * metasnap. The URL's parser refuses what is left by name. */
static int former_add_query(struct strbuf *url, char separator, const char *setting, bool postgres, struct err *e)
{
	size_t n = strcspn(setting, ":=");
	if (!n || !setting[n] || !setting[n + 1])
		return err_set(e, EINVAL, "-o and -a take key:value (key=value)");
	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)setting[i]) && setting[i] != '_')
			return err_set(e, EINVAL, "-o and -a take key:value (key=value)");
	bool is_socket = !postgres && n == strlen("unix_socket") && !memcmp(setting, "unix_socket", n);
	/* What is sent is UTF-8 in any case. */
	if (n == strlen("charset") && !memcmp(setting, "charset", n) && !strncasecmp(setting + n + 1, "utf8", 4))
		return 0;
	strbuf_addch(url, separator);
	strbuf_add(url, is_socket ? "socket" : setting, is_socket ? strlen("socket") : n);
	strbuf_addch(url, '=');
	former_encode(url, setting + n + 1);
	return 1;
}

static const char *former_password(const struct former *f)
{
	const char *from = f->password;
	from = from ? from : getenv("METASNAP_PASSWORD");
	return from ? from : getenv(f->schema ? "PGPASSWORD" : "MYSQL_PWD");
}

int former_arguments(struct former *f, struct err *e)
{
	const char *missing = !f->host ? "-H HOST" : !f->user ? "-u USER" : !f->database ? "-d DATABASE" : NULL;
	if (missing)
		return err_set(e, EINVAL, "%s is missing", missing);
	const char *password = former_password(f);
	struct strbuf url = {0};
	/* A password that moves while the buffer grows would stay behind in freed memory. */
	strbuf_reserve(&url, 3 * (strlen(f->host) + strlen(f->user) + (password ? strlen(password) : 0)) + 64);
	strbuf_adds(&url, f->schema ? "postgresql://" : "mysql://");
	former_encode(&url, f->user);
	if (password) {
		strbuf_addch(&url, ':');
		former_encode(&url, password);
	}
	strbuf_addch(&url, '@');
	former_encode(&url, f->host);
	strbuf_addf(&url, ":%s/", f->port ? f->port : f->schema ? "5432" : "3306");
	former_encode(&url, f->database);
	char separator = '?';
	if (f->schema) {
		strbuf_adds(&url, "?schema=");
		former_encode(&url, f->schema);
		separator = '&';
	}
	int r = 0;
	for (size_t i = 0; r >= 0 && i < f->n_settings; i++) {
		r = former_add_query(&url, separator, f->settings[i], f->schema != NULL, e);
		separator = r > 0 ? '&' : separator;
	}
	f->url = strbuf_detach(&url);
	f->args[0] = f->url;
	f->args[1] = (char *)f->input;
	return r < 0 ? r : 0;
}

void former_done(struct former *f)
{
	former_forget(f->password);
	former_forget(f->url);
	free(f->settings);
	*f = (struct former){0};
}
