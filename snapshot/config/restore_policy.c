/*
 * snapshot/config/restore_policy.c - the policies' words. No state; any thread.
 */
#include "snapshot/config/restore_policy.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

static const char *const config_policies[] = {
    [RESTORE_OFF] = "off",
    [RESTORE_EMPTY] = "empty",
    [RESTORE_REPLACE] = "replace",
};

int restore_policy_parse(const char *text, enum restore_policy *ret)
{
	for (size_t i = 0; i < sizeof config_policies / sizeof config_policies[0]; i++)
		if (!strcmp(text, config_policies[i])) {
			*ret = (enum restore_policy)i;
			return 0;
		}
	return -EINVAL;
}

const char *restore_policy_name(enum restore_policy p)
{
	return config_policies[p];
}
