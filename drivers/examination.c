/*
 * drivers/examination.c - see examination.h.
 */
#include "drivers/examination.h"

#include <stdlib.h>

#include "base/strbuf.h"

void db_examination_done(struct db_examination *x)
{
	for (size_t i = 0; i < x->n_lacks; i++) {
		free(x->lacks[i].right);
		free(x->lacks[i].statement);
	}
	free(x->lacks);
	free(x->rows);
	free(x->account);
	*x = (struct db_examination){0};
}

void db_examination_lack(struct db_examination *x, bool restore, char *right, char *statement)
{
	x->lacks = xrealloc(x->lacks, (x->n_lacks + 1) * sizeof *x->lacks);
	x->lacks[x->n_lacks++] = (struct db_lack){.right = right, .statement = statement, .restore = restore};
}
