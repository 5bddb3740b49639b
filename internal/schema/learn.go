package schema

import (
	"context"
	"crypto/sha256"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"
)

// Limits of what is asked after a schema was loaded. Anybody can name types that nobody knows, so
// these must hold a service and its gateway harmless.
const (
	// learnTimeout is how long one question may take, and so how long a call may wait for it.
	learnTimeout = time.Second
	// learnConcurrent is the maximum number of questions at a time.
	learnConcurrent = 4
	// learnBurst is how many questions may be asked at once after a pause, learnRate how many in a
	// second on average.
	learnBurst, learnRate = 100, 2
	// learnTime is for how long questions may be asked at once after a pause, learnTimeShare for
	// which part of the time on average. So a message with many unknown types waits for about a
	// second, even if each answer takes a while.
	learnTime, learnTimeShare = time.Second, 0.1
	// learnPause is how long nothing is asked after the service has failed to answer.
	learnPause = 10 * time.Second
	// forgetUnknown is how long the service is not asked again for what it did not know.
	forgetUnknown = 30 * time.Second
	// maxUnknown is how many such names are kept.
	maxUnknown = 4096
	// maxLearned is how many types may be learned.
	maxLearned = 256
	// maxLearnedBytes is the maximum size in bytes of all descriptors that are learned, and of the
	// answers to one question.
	maxLearnedBytes = 4 << 20
	// maxLearnedDeclarations is the maximum number of declarations in these.
	maxLearnedDeclarations = 20_000
	// maxLearnQuestions bounds the imports that are asked for along with one type.
	maxLearnQuestions = 500
)

// lack is what a schema does not have: a type or an extension by its name, or the extension of a
// message by its number.
type lack struct {
	name   protoreflect.FullName
	number protoreflect.FieldNumber // 0: by name
}

func (l lack) question() *question {
	if l.number == 0 {
		return fileWithSymbol(string(l.name))
	}
	return &question{MessageRequest: &reflectionpb.ServerReflectionRequest_FileContainingExtension{
		FileContainingExtension: &reflectionpb.ExtensionRequest{ContainingType: string(l.name), ExtensionNumber: int32(l.number)},
	}}
}

// learner asks a service for types that its schema does not have, and keeps them. It has no
// goroutines: a question is asked by the first caller who needs the answer.
type learner struct {
	conn   grpc.ClientConnInterface
	method string
	base   *protoregistry.Files
	known  atomic.Pointer[learned]

	mu sync.Mutex
	// asking are the questions under way. The channel is closed when the answer is there.
	asking map[lack]chan struct{}
	// unknown is what the service does not know, with the time until which that holds.
	unknown map[lack]time.Time
	// tokens is how many questions may be asked, and time for how long, as of filled. Answers that
	// take longer than expected make time negative.
	tokens float64
	time   time.Duration
	filled time.Time
	// paused is until when nothing is asked.
	paused time.Time

	// linking is held while an answer is added to known.
	linking sync.Mutex
}

// learned is what a service has told. Immutable.
type learned struct {
	files *protoregistry.Files
	types *dynamicpb.Types
	// answers are the questions that were answered, with the file that each answer was about.
	answers map[lack]learnedFile
	// bytes and declarations are the totals of all files.
	bytes, declarations int
}

// learnedFile identifies the content of a file.
type learnedFile struct {
	path string
	sum  [sha256.Size]byte
}

func newLearner(conn grpc.ClientConnInterface, method string, base *protoregistry.Files) *learner {
	l := &learner{
		conn: conn, method: method, base: base,
		asking: map[lack]chan struct{}{}, unknown: map[lack]time.Time{}, tokens: learnBurst, time: learnTime, filled: time.Now(),
	}
	files := &protoregistry.Files{}
	l.known.Store(&learned{files: files, types: dynamicpb.NewTypes(files), answers: map[lack]learnedFile{}})
	return l
}

func (l *learner) types() *dynamicpb.Types { return l.known.Load().types }

// learn asks the service for what is lacking, and reports whether it has told. It waits no longer
// than learnTimeout.
func (l *learner) learn(what lack) bool {
	if !askable(string(what.name)) || what.number < 0 {
		return false
	}
	l.mu.Lock()
	now := time.Now()
	if answer, ok := l.asking[what]; ok {
		l.mu.Unlock()
		return l.await(what, answer)
	}
	if !l.mayAskLocked(what, now) {
		l.mu.Unlock()
		return false
	}
	// The name may be a small part of a large text, which must not be kept.
	what.name = protoreflect.FullName(strings.Clone(string(what.name)))
	answer := make(chan struct{})
	l.asking[what] = answer
	l.mu.Unlock()

	told, err := l.ask(what)

	l.mu.Lock()
	defer l.mu.Unlock()
	l.time -= time.Since(now)
	delete(l.asking, what)
	close(answer)
	switch {
	case told:
	case err != nil:
		l.paused = time.Now().Add(learnPause)
	default:
		l.forgetLocked()
		l.unknown[what] = time.Now().Add(forgetUnknown)
	}
	return told
}

// await waits for the answer to a question that somebody else asks.
func (l *learner) await(what lack, answer <-chan struct{}) bool {
	timer := time.NewTimer(learnTimeout)
	defer timer.Stop()
	select {
	case <-answer:
		_, told := l.known.Load().answers[what]
		return told
	case <-timer.C:
		return false
	}
}

// mayAskLocked reports whether a question may be asked now, and takes its token. Caller must hold
// l.mu.
func (l *learner) mayAskLocked(what lack, now time.Time) bool {
	if now.Before(l.unknown[what]) || now.Before(l.paused) || len(l.asking) >= learnConcurrent {
		return false
	}
	if known := l.known.Load(); len(known.answers) >= maxLearned || known.bytes >= maxLearnedBytes || known.declarations >= maxLearnedDeclarations {
		return false
	}
	since := now.Sub(l.filled)
	l.tokens = min(learnBurst, l.tokens+learnRate*since.Seconds())
	l.time = min(learnTime, l.time+time.Duration(learnTimeShare*float64(since)))
	l.filled = now
	if l.tokens < 1 || l.time <= 0 {
		return false
	}
	l.tokens--
	return true
}

// forgetLocked makes room in unknown. Caller must hold l.mu.
func (l *learner) forgetLocked() {
	if len(l.unknown) < maxUnknown {
		return
	}
	now := time.Now()
	for what, until := range l.unknown {
		if now.After(until) {
			delete(l.unknown, what)
		}
	}
	for what := range l.unknown {
		if len(l.unknown) < maxUnknown {
			break
		}
		delete(l.unknown, what)
	}
}

// ask asks the service. An error says that it gave no answer, and false without one that it does
// not know or that the answer cannot be used.
func (l *learner) ask(what lack) (told bool, err error) {
	// Descriptors come from other processes, and the libraries that link them are written for those
	// of compilers.
	defer func() {
		if recover() != nil {
			told = false
		}
	}()
	// Without a deadline, so that a service that is slow here does not look slow to its callers.
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	defer time.AfterFunc(learnTimeout, cancel).Stop()
	known := l.known.Load()
	files := newAssembly()
	files.base = layers{l.base, known.files}
	c := newReflectionCall(l.conn, l.method, files, reflectionLimits{
		bytes: maxLearnedBytes, traffic: maxLearnedBytes, questions: maxLearnQuestions, declarations: maxLearnedDeclarations,
	})
	// A service that does not know a name may end the stream with an error.
	c.works = true
	defer c.close()
	var trouble error
	err = c.ask(ctx, []*question{what.question()}, func(_ *question, resp *answer) error {
		_, trouble = c.take(resp, func(error) {})
		return trouble
	})
	if err == nil {
		err = c.fetchImports(ctx)
	}
	if err == nil {
		err = c.repairImports(ctx)
	}
	if err != nil {
		if isContent(err) {
			return false, nil
		}
		return false, err
	}
	return l.add(what, c), nil
}

// recheck asks, as a part of a load, again for all that was learned. It reports whether the answers
// are the same.
func (l *learner) recheck(ctx context.Context, c *reflectionCall) (same bool, err error) {
	if l == nil {
		return true, nil
	}
	before := l.known.Load().answers
	asked := make(map[*question]lack, len(before))
	var questions []*question
	for what := range before {
		q := what.question()
		asked[q] = what
		questions = append(questions, q)
	}
	same = true
	err = c.ask(ctx, questions, func(q *question, resp *answer) error {
		same = same && before[asked[q]].isIn(resp)
		return nil
	})
	return same, err
}

// isIn reports whether an answer has the file, with the same content.
func (f learnedFile) isIn(resp *answer) bool {
	// These files are not for the schema that is being loaded.
	a := newAssembly()
	for _, raw := range resp.GetFileDescriptorResponse().GetFileDescriptorProto() {
		if fileName(raw) != f.path {
			continue
		}
		if _, err := a.addBytes(raw, "server reflection"); err != nil {
			return false
		}
	}
	now := a.given[f.path]
	return now != nil && sha256.Sum256(canonical(now.desc, true)) == f.sum
}
