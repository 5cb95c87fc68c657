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

static void old_add_setting(struct cli_old *old, char *text)
{
	old->settings = xrealloc(old->settings, (old->n_settings + 2) * sizeof *old->settings);
	old->settings[old->n_settings++] = text;
	old->settings[old->n_settings] = NULL;
}

static void old_forget(char *secret)
{
	if (secret)
		explicit_bzero(secret, strlen(secret));
	free(secret);
}

/* The password is not left where `ps` shows it. */
static void old_take_password(struct cli_old *old, char *value)
{
	old_forget(old->password);
	old->password = xstrdup(value);
	memset(value, 'x', strlen(value));
}

int cli_old_take(struct cli_old *old, int o, char *value, int argc, char **argv, int *index, struct err *e)
{
	const char **text = o == 'H'            ? &old->host
			    : o == 'u'          ? &old->user
			    : o == 'd'          ? &old->database
			    : o == 's'          ? &old->schema
			    : o == CLI_OLD_PORT ? &old->port
			    : o == CLI_OLD_IN   ? &old->input
			    : o == CLI_OLD_OUT  ? &old->output
						: NULL;
	if (text) {
		if (!*value)
			return err_set(e, EINVAL, "an option has an empty value");
		*text = value;
		return o == CLI_OLD_IN ? CLI_OLD_INPUT : o == CLI_OLD_OUT ? CLI_OLD_OUTPUT : CLI_OLD_CONNECTION;
	}
	switch (o) {
	case 'p':
		old_take_password(old, value);
		return CLI_OLD_CONNECTION;
	case 'o':
	case 'a':
		old_add_setting(old, value);
		while (*index < argc && argv[*index][0] != '-' && strpbrk(argv[*index], ":="))
			old_add_setting(old, argv[(*index)++]);
		return CLI_OLD_CONNECTION;
	case CLI_OLD_UPLOAD:
		return err_set(
		    e, EINVAL,
		    "uploads are not done here: run `aws s3 cp FILE s3://BUCKET/KEY`, azcopy or rclone on the file "
		    "that was written");
	default:
		return 0;
	}
}

static void old_encode(struct strbuf *url, const char *text)
{
	for (; *text; text++) {
		if (isascii((unsigned char)*text) && (isalnum((unsigned char)*text) || strchr("-._~", *text)))
			strbuf_addch(url, *text);
		else
			strbuf_addf(url, "%%%02X", (unsigned char)*text);
	}
}

/* `key:value` or `key=value` of -o (SQLAlchemy's query) and -a (the driver's connect arguments): what means the same to
 * metasnap. The URL's parser refuses what is left by name. */
static int old_add_query(struct strbuf *url, char separator, const char *setting, bool postgres, struct err *e)
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
	old_encode(url, setting + n + 1);
	return 1;
}

static const char *old_password(const struct cli_old *old)
{
	const char *from = old->password;
	from = from ? from : getenv("METASNAP_PASSWORD");
	return from ? from : getenv(old->schema ? "PGPASSWORD" : "MYSQL_PWD");
}

int cli_old_arguments(struct cli_old *old, struct err *e)
{
	const char *missing = !old->host ? "-H HOST" : !old->user ? "-u USER" : !old->database ? "-d DATABASE" : NULL;
	if (missing)
		return err_set(e, EINVAL, "%s is missing", missing);
	const char *password = old_password(old);
	struct strbuf url = {0};
	/* A password that moves while the buffer grows would stay behind in freed memory. */
	strbuf_reserve(&url, 3 * (strlen(old->host) + strlen(old->user) + (password ? strlen(password) : 0)) + 64);
	strbuf_adds(&url, old->schema ? "postgresql://" : "mysql://");
	old_encode(&url, old->user);
	if (password) {
		strbuf_addch(&url, ':');
		old_encode(&url, password);
	}
	strbuf_addch(&url, '@');
	old_encode(&url, old->host);
	strbuf_addf(&url, ":%s/", old->port ? old->port : old->schema ? "5432" : "3306");
	old_encode(&url, old->database);
	char separator = '?';
	if (old->schema) {
		strbuf_adds(&url, "?schema=");
		old_encode(&url, old->schema);
		separator = '&';
	}
	int r = 0;
	for (size_t i = 0; r >= 0 && i < old->n_settings; i++) {
		r = old_add_query(&url, separator, old->settings[i], old->schema != NULL, e);
		separator = r > 0 ? '&' : separator;
	}
	old->url = strbuf_detach(&url);
	old->args[0] = old->url;
	old->args[1] = (char *)old->input;
	return r < 0 ? r : 0;
}

void cli_old_done(struct cli_old *old)
{
	old_forget(old->password);
	old_forget(old->url);
	free(old->settings);
	*old = (struct cli_old){0};
}
