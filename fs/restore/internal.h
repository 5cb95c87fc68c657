/*
 * fs/restore/internal.h - what the files that restore share. Only for these and their tests.
 */
#pragma once

#include <pthread.h>

#include "fs/restore/sets.h"

struct restores_track;

struct restores {
	struct service *service;
	struct staging *staging;
	pthread_mutex_t mutex;
	struct restores_track *tracks; /* sets.c's */
};
