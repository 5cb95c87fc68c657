/*
 * snapshot/store/store.h - all that the store of snapshots gives to others, for those who use much of it.
 */
#pragma once

#include "snapshot/store/catalog.h"
#include "snapshot/store/check.h"
#include "snapshot/store/codec.h"
#include "snapshot/store/extent.h"
#include "snapshot/store/index.h"
#include "snapshot/store/journal.h"
#include "snapshot/store/lines.h"
#include "snapshot/store/lock.h"
#include "snapshot/store/mark.h"
#include "snapshot/store/pack.h"
#include "snapshot/store/prune.h"
#include "snapshot/store/remove.h"
#include "snapshot/store/repack.h"
#include "snapshot/store/snapshot.h"
#include "snapshot/store/snapshot_write.h"
#include "snapshot/store/sweep.h"
#include "snapshot/store/tables.h"
#include "snapshot/store/texts.h"
#include "snapshot/store/version.h"
#include "snapshot/store/version_write.h"
