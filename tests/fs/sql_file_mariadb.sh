#!/bin/bash
# `.sql` files of OpenMetadata's former command line on MariaDB (sql_file.bash).
# TIMEOUT: 200
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/sql_file.bash"
sql_file mariadb
