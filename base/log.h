/*
 * base/log.h - where the programs (never the libraries below them) print: stderr, or syslog once detached.
 */
#pragma once

#include <stdbool.h>

void log_to_syslog(const char *ident); /* from now on; call after daemonising */
void log_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_warning(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *fmt, ...) __attribute__((format(printf, 1, 2))); /* silent unless log_set_debug(true) */
void log_set_debug(bool on);
