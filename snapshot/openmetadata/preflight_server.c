/*
 * snapshot/openmetadata/preflight_server.c - what the OpenMetadata server's own configuration says of its secrets
 * manager.
 *
 * The file is openmetadata.yaml or a file of environment variables; it is read as text, line by line, for two keys. It
 * holds passwords: only a known word is ever printed of it, and its bytes are wiped. No state.
 */
#include "snapshot/openmetadata/preflight_server.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>

#include "base/slurp.h"

#define SERVER_FILE_MAX (4 << 20)

static int read_file(const char *path, struct strbuf *out, struct err *e)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	return fd < 0 ? err_sys(e, errno, "%s", path) : slurp(fd, path, SERVER_FILE_MAX, out, e);
}

static const char *unquote(const char *value, size_t *len)
{
	while (*len && strchr("\"'", *value)) {
		value++;
		--*len;
	}
	while (*len && strchr("\"'", value[*len - 1]))
		--*len;
	return value;
}

/* Value of a line "key: value" or "export KEY=value"; NULL: another line. */
static const char *value_of(const char *line, size_t len, size_t *ret_len)
{
	static const char *const keys[] = {"secretsManager:", "SECRET_MANAGER:", "SECRET_MANAGER="};
	const char *end = line + len;
	while (line < end && strchr(" \t-", *line))
		line++;
	if (end - line > 7 && !strncmp(line, "export ", 7))
		line += 7;
	for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
		size_t n = strlen(keys[i]);
		if ((size_t)(end - line) < n || strncmp(line, keys[i], n))
			continue;
		line += n;
		while (line < end && strchr(" \t", *line))
			line++;
		*ret_len = 0;
		while (line + *ret_len < end && !strchr(" \t\r#", line[*ret_len]))
			++*ret_len;
		return unquote(line, ret_len);
	}
	return NULL;
}

/* The default in ${SECRET_MANAGER:-db}: *ret_default. */
static const char *value_default(const char *value, size_t *len, bool *ret_default)
{
	if (*len < 4 || strncmp(value, "${", 2) || value[*len - 1] != '}')
		return value;
	const char *dash = memmem(value, *len, ":-", 2);
	*ret_default = true;
	if (!dash) {
		*len = 0;
		return value;
	}
	*len -= (size_t)(dash + 2 - value) + 1;
	return unquote(dash + 2, len);
}

static const char *known_word(const char *value, size_t len)
{
	static const char *const words[] = {"noop", "db",      "managed-aws", "managed-aws-ssm",
					    "aws",  "aws-ssm", "in-memory"};
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		if (strlen(words[i]) == len && !strncasecmp(words[i], value, len))
			return words[i];
	return NULL;
}

static void judge(const char *path, const char *value, size_t len, struct preflight_line *l)
{
	static const char news[] = "The secrets manager has two new settings, prefix and tags: compare your "
				   "openmetadata.yaml with the new release's.\n";
	bool is_default = false;
	value = value ? value_default(value, &len, &is_default) : NULL;
	if (!value || !len) {
		l->status = PREFLIGHT_INFO;
		strbuf_addf(&l->found, "%s does not say which secrets manager is used: the server's default, `db`",
			    path);
		strbuf_addf(&l->todo,
			    "Look for SECRET_MANAGER in the server's environment: `noop` is called `db` since "
			    "1.3.0.\n%s",
			    news);
		return;
	}
	const char *word = known_word(value, len);
	strbuf_addf(&l->found, "%s says %s%s", path, word ? word : "a word that is not known here",
		    is_default ? " (where SECRET_MANAGER is not set in the server's environment)" : "");
	if (!word || !strcmp(word, "noop")) {
		l->status = word ? PREFLIGHT_FAIL : PREFLIGHT_WARN;
		strbuf_adds(&l->found, word ? ", which is called `db` since 1.3.0" : "");
		strbuf_adds(&l->todo, "SECRET_MANAGER=db        (or managed-aws, managed-aws-ssm)\n");
	}
	strbuf_adds(&l->todo, news);
}

void preflight_secrets_manager(const char *path, struct preflight_line *l)
{
	_cleanup_wipe_ struct strbuf text = {0};
	struct err e = ERR_INIT;
	const char *value = NULL;
	size_t len = 0;
	if (!path) {
		l->status = PREFLIGHT_INFO;
		strbuf_adds(&l->found, "not checked: the server's configuration is not known");
		strbuf_adds(&l->todo, "Name it: openmetadata_config = /PATH/openmetadata.yaml (or the server's "
				      "environment file) in [source NAME].\n"
				      "In it SECRET_MANAGER=noop becomes SECRET_MANAGER=db.\n");
		return;
	}
	if (read_file(path, &text, &e) < 0) {
		l->status = PREFLIGHT_WARN;
		strbuf_addf(&l->found, "not checked: %s", e.msg);
		strbuf_adds(&l->todo, "Let this user read it, or correct openmetadata_config in [source NAME].\n");
		return;
	}
	for (const char *line = text.data, *end = line + text.len; line < end;) {
		const char *newline = memchr(line, '\n', (size_t)(end - line));
		size_t n = newline ? (size_t)(newline - line) : (size_t)(end - line), found_len;
		const char *found = value_of(line, n, &found_len);
		if (found) { /* of several the last one holds, as in a shell */
			value = found;
			len = found_len;
		}
		line += n + 1;
	}
	judge(path, value, len, l);
}
