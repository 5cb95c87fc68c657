/*
 * snapshot/capture/backup_dir.h - a backup in a directory.
 */
#pragma once

#include "snapshot/capture/backup.h"

int backup_dir_open(struct backup_tree **ret, const char *path, struct err *e);
