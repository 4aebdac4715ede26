// Package oplog writes one log file per operation on the operator's side, so
// that a failed or killed operation can be examined. It masks secrets.
package oplog
