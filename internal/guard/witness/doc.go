// Package witness watches every running job through an operation, and the
// availability of the API, and says in a report what it saw.
//
// It has connections of its own, changes nothing, and may not know what the
// operation does beyond the name of the step in progress. It fails closed: a
// job whose end state it could not see counts as interrupted, with the cause
// "unobserved".
//
// What counts. A job is watched when a container of it ran at the start. It is
// interrupted when any such container has ended with an error, been deleted or
// been replaced, unless its user stopped it through PAI first; finished when
// all of them ended with success, or as its user wished; and otherwise still
// running, which a last complete look has to confirm. A pod that is deleted
// because its job had completed has not been interrupted.
//
// Evidence comes from the API (a watch, and a list every few seconds) and from
// the machines, where the witness asks the kernel which containers' processes
// live; the second goes on while the API is away. An end that was seen becomes
// an interruption only when the job's own object was read afterwards.
package witness
