// Package guard decides whether a step can start while jobs run: which running
// jobs it can affect, and whether every condition for leaving them alone is met.
//
// The rules are pure functions of Facts and fail closed: an unknown fact counts
// as unsafe. LiveFacts observes the facts through the API and on the machines.
// The guard changes nothing. It does not import the packages that execute, print,
// or record a step.
//
// To add a rule for changing a busy machine in place, add a row to
// kubeletInPlaceRules or runtimeInPlaceRules with the facts that it needs, and a
// case to TestInPlaceRules. Each rule names the upstream issue that is its reason.
package guard
