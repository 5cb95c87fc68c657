#!/bin/bash
# Snapshot, copy out, lose everything, copy in: on mariadb, with more than 50,000 rows of OpenMetadata's shape.
# TIMEOUT: 300
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/roundtrip.bash"
roundtrip mariadb 50500
