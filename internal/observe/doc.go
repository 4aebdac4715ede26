// Package observe reads the state of machines, cluster, and jobs into plan.World for the
// planner. No other code reads for it. Package observe changes nothing, and reports what it
// cannot read as unknown or unreachable.
package observe
