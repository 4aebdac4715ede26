// Package cli is paictl's commands: one file per noun. A command parses its
// flags, calls the package that does the work, and shows the result as text
// or JSON; it decides nothing by itself.
package cli
