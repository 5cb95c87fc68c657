/*
 * fs/tree/staged.h - inode numbers of restore/ and what is in it. Pure functions.
 */
#pragma once

#include "fs/tree/tree.h"

/* Node id of restore/ or something staged in it; 0: neither. */
int64_t tree_staged_of(uint64_t ino);
uint64_t tree_ino_of_staged(int64_t node, int64_t source_id);
