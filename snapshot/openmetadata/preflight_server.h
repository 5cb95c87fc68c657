/*
 * snapshot/openmetadata/preflight_server.h - the OpenMetadata server's own configuration. Any thread; no state.
 */
#pragma once

#include "snapshot/openmetadata/preflight_line.h"

/* What openmetadata.yaml or an environment file says of the secrets manager. */
void preflight_secrets_manager(const char *path, struct preflight_line *l);
