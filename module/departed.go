package module

import (
	"sync"

	"go.uber.org/zap"
)

// departed returns what a method tells about answers with a value that has no JSON form. One line
// says it to the operator, until the table is replaced: what a service answers once, it will answer
// again.
func departed(upstream, method string) func(note error) {
	var once sync.Once
	return func(note error) {
		once.Do(func() {
			lastingLog().Warn("an answer has a value without a JSON form; wrote something close to it",
				zap.String("upstream", upstream), zap.String("method", method), zap.Error(note))
		})
	}
}
