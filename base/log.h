/*
 * base/log.h - where the programs (never the libraries below them) print: stderr, or syslog once detached.
 */
#pragma once

void log_to_syslog(const char *ident); /* from now on; call after daemonising */
void log_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_warning(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
