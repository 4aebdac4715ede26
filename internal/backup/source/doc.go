// Package source reads the content of a backup on a control-plane machine: a script
// prints it, and Fill puts it into a backup and verifies it. paictl runs the script over
// ssh; the machine runs it itself for backups that need no operator.
package source
