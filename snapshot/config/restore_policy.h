/*
 * snapshot/config/restore_policy.h - what the operator lets be done to a source's database. Any thread; no state.
 */
#pragma once

enum restore_policy { RESTORE_OFF, RESTORE_EMPTY, RESTORE_REPLACE };

/* EINVAL. */
int restore_policy_parse(const char *text, enum restore_policy *ret);
const char *restore_policy_name(enum restore_policy p);
