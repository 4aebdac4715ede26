// Package scheduledbackup is the part of PAI on a control-plane machine that backs it up
// without an operator. A timer starts it. It takes the lock of the cluster, makes and
// verifies a backup as paictl does, signs it with the key of the machine, deletes older
// ones, and records the result for paictl and for node-exporter.
package scheduledbackup
