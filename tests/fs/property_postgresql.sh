#!/bin/bash
# TIMEOUT: 900
# Random databases on postgresql: what is snapshotted comes back, whatever its schema, its values and the changes since. The whole list of
# what is random: tests/property/gen_postgresql.py.

# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/fs/property.bash
. "$(dirname "$0")/property.bash"

property postgresql "${PROPERTY_SEEDS:-1-12}"
