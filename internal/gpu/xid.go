package gpu

import "fmt"

// applicationXids are the errors that a program on the GPU causes, and after which the
// GPU works. The device plugin of NVIDIA ignores the same ones.
var applicationXids = map[uint64]string{
	13:  "graphics engine exception",
	31:  "GPU memory page fault",
	43:  "GPU stopped processing",
	45:  "preemptive cleanup, due to previous errors",
	68:  "video processor exception",
	109: "context switch timeout",
}

// xids are other errors that occur often, for messages.
var xids = map[uint64]string{
	48:  "double-bit ECC error",
	63:  "row remapping or page retirement recorded",
	64:  "row remapping or page retirement failed",
	74:  "NVLink error",
	79:  "GPU has fallen off the bus",
	92:  "high single-bit ECC error rate",
	94:  "contained ECC error",
	95:  "uncontained ECC error",
	119: "GSP RPC timeout",
	120: "GSP error",
}

// ByApplication reports whether an Xid is the fault of the program that ran, so that
// the GPU stays healthy. An unknown Xid is not.
func ByApplication(xid uint64) bool {
	_, found := applicationXids[xid]
	return found
}

// DescribeXid is an Xid in words.
func DescribeXid(xid uint64) string {
	for _, table := range []map[uint64]string{applicationXids, xids} {
		if text := table[xid]; text != "" {
			return fmt.Sprintf("Xid %d (%s)", xid, text)
		}
	}
	return fmt.Sprintf("Xid %d", xid)
}
