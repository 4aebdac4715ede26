package cluster

import (
	"context"

	"pai.dev/pai/internal/machine"
)

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
