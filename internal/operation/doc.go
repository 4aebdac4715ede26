// Package operation runs operations on a cluster. Boot, clean, start, stop,
// upgrade, and roll back are goals. Each goal takes one flow, whose stages
// operation.run lists in order:
//
//	observe → plan → show → guard → do → verify → record
//
// The package connects the packages below it. It decides nothing that the
// planner, the guard, or the witness decides, and must not import commands.
package operation
