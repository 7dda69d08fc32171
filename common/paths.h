/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where daemon and client meet. System: RUNSTATEDIR/jobd.sock, $STATE_DIRECTORY/jobd.db (else
 * LOCALSTATEDIR/lib/jobd/jobd.db), SYSCONFDIR/jobd.conf. User: $XDG_RUNTIME_DIR/jobd.sock (without
 * XDG_RUNTIME_DIR: /tmp/jobd-UID/jobd.sock, the folder made with mode 0700 and refused where
 * another owns it, as tmux does), $XDG_STATE_HOME/jobd/jobd.db (~/.local/state),
 * $XDG_CONFIG_HOME/jobd/jobd.conf (~/.config). Profiles: SYSCONFDIR/jobd/profiles,
 * $XDG_CONFIG_HOME/jobd/profiles. The caller frees. NULL where there is no home folder.
 */
#pragma once

#include <stdbool.h>

char *path_socket(bool is_user);
char *path_database(bool is_user);
char *path_config(bool is_user);
/* A folder */
char *path_profiles(bool is_user);
/* mkdir -p of the folder that path lies in, mode 0700 for what is made, which a power cut leaves.
 * 0 or a negative errno. */
int path_make_parent(const char *path);
/* So that what was made in the folder that path lies in, or named anew, is there after a power cut.
 * 0 or a negative errno. */
int path_sync_parent(const char *path);
/* Where a path leads that may be a symbolic link, or one to another: the file itself, there or not;
 * its folders stay as they are. */
char *path_follow_links(const char *path);
/*
 * -EPERM where the folder of a user's socket could be another user's doing (owner, mode, link);
 * makes /tmp/jobd-UID when it is missing. 0 when it is fine.
 */
int path_check_socket_folder(const char *socket_path);
