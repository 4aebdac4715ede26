package cluster

import "fmt"

// syncTree is a script that makes a directory, and all that is below it, durable.
// "sync -f" would also wait for what jobs have written to the file system, such as
// checkpoints, and so prolong an API outage.
func syncTree(dir string) string {
	return fmt.Sprintf(`(set -f; IFS='
'; tree=$(find %s -type f -o -type d); sync -- $tree)`, dir)
}
