package cluster

import (
	"context"

	"pai.dev/pai/internal/machine"
)

// OwnsDirectory reports whether a directory is as OwnDirectory makes it. One that a kubelet
// made belongs to root.
func OwnsDirectory(ctx context.Context, h machine.Host, dir string, user int) (bool, error) {
	out, err := sh(ctx, h, `dir=%s
[ ! -L "$dir" ] && [ -d "$dir" ] || exit 0
[ "$(stat -c '%%u:%%g %%a' "$dir")" = "%d:%d 700" ] || exit 0
other=$(find "$dir" -ignore_readdir_race \( ! -uid %d -o ! -gid %d \) -print -quit)
[ -n "$other" ] || echo owned`, machine.Quote(dir), user, user, user, user)
	return out == "owned", err
}

// OwnDirectory makes a directory that only the user with an ID reads and writes, with all
// that is in it. It follows no link.
func OwnDirectory(ctx context.Context, h machine.Host, dir string, user int) error {
	_, err := sh(ctx, h, `dir=%s
[ ! -L "$dir" ] || { echo "$dir is a link" >&2; exit 1; }
mkdir -p -m 0700 "$dir"
chmod 0700 "$dir"
chown -hR %d:%d "$dir"`, machine.Quote(dir), user, user)
	return err
}
