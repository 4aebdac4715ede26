// Package guard decides whether a step may go while jobs run: which running
// jobs it could touch, and whether it is known to leave them alone.
//
// The rules are pure functions of Facts and fail closed: what could not be
// observed counts as unsafe. Facts are gathered from the API and the machines
// through FactSource. The guard changes nothing, and may not know how a step
// is carried out, printed or recorded.
//
// The reasons for its rules are upstream issues on what restarts running
// containers; each rule names its own.
package guard
