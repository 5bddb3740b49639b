package testkit

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/caddy-grpc/gateway/internal/testkit/testpb"
)

// library implements testpb.Library. It starts with three books: shelves/1/books/1,
// shelves/1/books/2 and shelves/2/books/3.
type library struct {
	testpb.UnimplementedLibraryServer
	b *Backend

	mu    sync.Mutex
	books map[string]*testpb.Book
	next  int
}

func newLibrary(b *Backend) *library {
	l := &library{b: b, books: map[string]*testpb.Book{}, next: 4}
	for _, book := range []*testpb.Book{
		{Name: "shelves/1/books/1", Title: "Emma", Author: "Jane Austen", Genre: testpb.Genre_NOVEL, Pages: 474,
			Published: &timestamppb.Timestamp{Seconds: -4855766400}, Tags: []string{"classic", "comedy"}, Labels: map[string]string{"lang": "en"}},
		{Name: "shelves/1/books/2", Title: "Middlemarch", Author: "George Eliot", Genre: testpb.Genre_NOVEL, Pages: 880},
		{Name: "shelves/2/books/3", Title: "Leaves of Grass", Author: "Walt Whitman", Genre: testpb.Genre_POETRY, Pages: 145},
	} {
		l.books[book.GetName()] = book
	}
	return l
}

// GetBook answers NOT_FOUND for names it does not have.
func (l *library) GetBook(ctx context.Context, req *testpb.GetBookRequest) (*testpb.Book, error) {
	l.b.executed(idFromMetadata(ctx))
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.find(req.GetName())
}

// find returns a copy.
func (l *library) find(name string) (*testpb.Book, error) {
	book, ok := l.books[name]
	if !ok {
		return nil, status.Errorf(codes.NotFound, "no book %q", name)
	}
	return proto.CloneOf(book), nil
}

// ListBooks lists by name; an empty parent means all shelves, page_token is the position of the
// next book.
func (l *library) ListBooks(ctx context.Context, req *testpb.ListBooksRequest) (*testpb.ListBooksResponse, error) {
	l.b.executed(idFromMetadata(ctx))
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []*testpb.Book
	for name, book := range l.books {
		if req.GetParent() != "" && !strings.HasPrefix(name, req.GetParent()+"/") {
			continue
		}
		if req.GetGenre() != testpb.Genre_GENRE_UNSPECIFIED && req.GetGenre() != book.GetGenre() {
			continue
		}
		found = append(found, proto.CloneOf(book))
	}
	slices.SortFunc(found, func(a, b *testpb.Book) int { return strings.Compare(a.GetName(), b.GetName()) })
	start := 0
	if req.GetPageToken() != "" {
		var err error
		if start, err = strconv.Atoi(req.GetPageToken()); err != nil || start < 0 || start > len(found) {
			return nil, status.Errorf(codes.InvalidArgument, "bad page token %q", req.GetPageToken())
		}
	}
	found = found[start:]
	resp := &testpb.ListBooksResponse{Books: found}
	if n := int(req.GetPageSize()); n > 0 && n < len(found) {
		resp.Books, resp.NextPageToken = found[:n], strconv.Itoa(start+n)
	}
	return resp, nil
}

// CreateBook makes an id where none is given.
func (l *library) CreateBook(ctx context.Context, req *testpb.CreateBookRequest) (*testpb.Book, error) {
	l.b.executed(idFromMetadata(ctx))
	l.mu.Lock()
	defer l.mu.Unlock()
	id := req.GetBookId()
	if id == "" {
		id = strconv.Itoa(l.next)
		l.next++
	}
	book := &testpb.Book{}
	if req.GetBook() != nil {
		book = proto.CloneOf(req.GetBook())
	}
	book.Name = fmt.Sprintf("%s/books/%s", req.GetParent(), id)
	if _, ok := l.books[book.GetName()]; ok {
		return nil, status.Errorf(codes.AlreadyExists, "there is a book %q", book.GetName())
	}
	l.books[book.GetName()] = book
	return proto.CloneOf(book), nil
}

// UpdateBook sets the top-level fields that the mask names; without a mask it replaces the book.
func (l *library) UpdateBook(ctx context.Context, req *testpb.UpdateBookRequest) (*testpb.Book, error) {
	l.b.executed(idFromMetadata(ctx))
	l.mu.Lock()
	defer l.mu.Unlock()
	book, err := l.find(req.GetBook().GetName())
	if err != nil {
		return nil, err
	}
	if req.GetUpdateMask() == nil {
		book = proto.CloneOf(req.GetBook())
	}
	from, to := req.GetBook().ProtoReflect(), book.ProtoReflect()
	for _, path := range req.GetUpdateMask().GetPaths() {
		fd := to.Descriptor().Fields().ByName(protoreflect.Name(path))
		if fd == nil {
			return nil, status.Errorf(codes.InvalidArgument, "no field %q", path)
		}
		if from.Has(fd) {
			to.Set(fd, from.Get(fd))
		} else {
			to.Clear(fd)
		}
	}
	l.books[book.GetName()] = proto.CloneOf(book)
	return book, nil
}

// DeleteBook answers NOT_FOUND for names it does not have.
func (l *library) DeleteBook(ctx context.Context, req *testpb.GetBookRequest) (*emptypb.Empty, error) {
	l.b.executed(idFromMetadata(ctx))
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := l.find(req.GetName()); err != nil {
		return nil, err
	}
	delete(l.books, req.GetName())
	return &emptypb.Empty{}, nil
}
