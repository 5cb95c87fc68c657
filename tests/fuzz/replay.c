/*
 * tests/fuzz/replay.c - main() of a fuzz target without a fuzzer: gives it every file named, and every file of every
 * directory named. A corpus so runs as a normal test, with any compiler.
 */
#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>

#include "base/strbuf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t replay_path(const char *path);

static size_t replay_directory(const char *path)
{
	DIR *d = opendir(path);
	size_t n = 0;
	for (const struct dirent *entry; d && (entry = readdir(d));) {
		if (entry->d_name[0] == '.')
			continue;
		_cleanup_free_ char *name = xasprintf("%s/%s", path, entry->d_name);
		n += replay_path(name);
	}
	if (d)
		(void)closedir(d);
	return n;
}

/* Number of files given to the target. */
static size_t replay_path(const char *path)
{
	struct stat st;
	if (!stat(path, &st) && S_ISDIR(st.st_mode))
		return replay_directory(path);
	_cleanup_fclose_ FILE *f = fopen(path, "rb");
	if (!f) {
		(void)fprintf(stderr, "replay: %s: %s\n", path, strerror(errno));
		exit(1);
	}
	_cleanup_strbuf_ struct strbuf text = {0};
	char block[4096];
	for (size_t n; (n = fread(block, 1, sizeof block, f)) > 0;)
		strbuf_add(&text, block, n);
	/* Memory of exactly this size, so that a sanitizer sees a read behind it. */
	_cleanup_free_ uint8_t *exact = xmalloc(text.len ? text.len : 1);
	if (text.len)
		memcpy(exact, text.data, text.len);
	(void)LLVMFuzzerTestOneInput(exact, text.len);
	return 1;
}

int main(int argc, char **argv)
{
	size_t n = 0;
	for (int i = 1; i < argc; i++)
		n += replay_path(argv[i]);
	(void)printf("%zu inputs\n", n);
	return n ? 0 : 1;
}
