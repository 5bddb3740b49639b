package module

import (
	"sync"

	"go.uber.org/zap"
)

// departed makes a function that a method calls when an answer has a value without a JSON form. The
// function logs that once, until the table is replaced, because a service that answers so once will
// do it again.
func departed(upstream, method string) func(note error) {
	var once sync.Once
	return func(note error) {
		once.Do(func() {
			lastingLog().Warn("an answer has a value without a JSON form; wrote something close to it",
				zap.String("upstream", upstream), zap.String("method", method), zap.Error(note))
		})
	}
}
