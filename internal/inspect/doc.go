// Package inspect is what PAI's helper on a machine, pai-machine, can report: the
// types Request and Report, and the code that fills a Report from files below a
// root directory and from a few programs of the machine. Only the digest cache
// is ever written. Package inspect/helper asks from the other side.
//
// The program must stay small, because every machine gets it: this package uses
// the standard library, and packages of PAI that do the same.
package inspect
