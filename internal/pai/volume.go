package pai

import "slices"

// IsReservedVolume reports whether a directory of /var/lib/pai with this name
// belongs to PAI itself, so that no service can have a volume with the name.
func IsReservedVolume(name string) bool {
	return slices.Contains([]string{"applied", "cluster", "images", "lock", "network", "operations", "revisions", "snapshots", "swap", "volumes", "witness"}, name)
}
