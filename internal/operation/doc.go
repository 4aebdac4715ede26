// Package upgrade is PAI's operations: boot, clean, start, stop and upgrade
// are each a goal, and take the one way that there is:
//
//	observe → plan → show → guard → do → verify → record
//
// It wires the parts below it together and decides nothing that the planner,
// the guard or the witness should. It may not know flags or output formats.
package operation
