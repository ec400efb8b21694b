// Package restart measures how soon a killed process runs again, and what many
// processes cost, beside other supervisors of processes in the same run.
package restart
