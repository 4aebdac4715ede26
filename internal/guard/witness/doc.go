// Package witness watches every running job and the availability of the API
// during an operation, and reports the result.
//
// It has its own connections and changes nothing. It knows the name of the step
// in progress, and nothing else about the operation. It fails closed: a job whose
// end state was not observed counts as interrupted, with the cause "unobserved".
//
// A job is watched if at least one of its containers ran at the start.
//   - It is interrupted if such a container ended with an error, was deleted, or
//     was replaced, unless the user first stopped the job through PAI. A pod that
//     is deleted because its job completed is not interrupted.
//   - It is finished if all such containers ended with success or because the user
//     stopped the job.
//   - Otherwise it is running, which a complete final observation must confirm.
//
// Evidence comes from the API (a watch, and a list every few seconds) and from the
// machines, where the witness asks the kernel which container processes live. The
// machines are observed also during an API outage. The end of a container becomes
// an interruption only after the object of its job was read. The pods that start later,
// as retries, are watched as well, because one of them can be why a job fails.
package witness
