/*
 * snapshot/openmetadata/preflight.h - is this database ready for an upgrade of OpenMetadata? Questions, each with an
 * answer (OK, WARN, FAIL, INFO), what was found, and what to do.
 *
 * Reads only: neither the database nor the catalog changes. What it prints of the database are names, types, versions
 * and numbers, never a value out of `$.connection` or `$.authenticationMechanism` (but for the one enumerated word that
 * is asked about). Any thread; no state.
 */
#pragma once

#include "snapshot/openmetadata/preflight_report.h"
#include "snapshot/openmetadata/preflight_request.h"
#include "snapshot/openmetadata/preflight_version.h"

/* EINVAL: `to` is no version; EINTR. All else that goes wrong is a line of the report. */
int preflight_run(const struct preflight_request *rq, struct preflight_report *ret, struct err *e);
