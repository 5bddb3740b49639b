package main

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/caddy-grpc/gateway/examples/quickstart/userpb"
)

// userStore is shared by all instances, as a database would be.
type userStore struct {
	mu    sync.Mutex
	users map[int64]*userpb.User
	next  int64
}

func newUserStore() *userStore {
	store := &userStore{users: map[int64]*userpb.User{}, next: 1}
	store.add(&userpb.User{Name: "Ada Lovelace", Email: "ada@example.com", Role: userpb.Role_ADMIN})
	store.add(&userpb.User{Name: "Grace Hopper", Email: "grace@example.com", Role: userpb.Role_MEMBER})
	store.add(&userpb.User{Name: "Radia Perlman", Email: "radia@example.com", Role: userpb.Role_MEMBER})
	return store
}

func (s *userStore) add(user *userpb.User) *userpb.User {
	s.mu.Lock()
	defer s.mu.Unlock()
	user = proto.CloneOf(user)
	user.Id, s.next = s.next, s.next+1
	user.CreatedAt = timestamppb.Now()
	s.users[user.GetId()] = user
	return proto.CloneOf(user)
}

func (s *userStore) get(id int64) (*userpb.User, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	user, ok := s.users[id]
	return proto.CloneOf(user), ok
}

func (s *userStore) remove(id int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.users[id]
	delete(s.users, id)
	return ok
}

func (s *userStore) list(role userpb.Role, limit int) []*userpb.User {
	s.mu.Lock()
	defer s.mu.Unlock()
	var users []*userpb.User
	for _, user := range s.users {
		if role == userpb.Role_ROLE_UNSPECIFIED || user.GetRole() == role {
			users = append(users, proto.CloneOf(user))
		}
	}
	slices.SortFunc(users, func(a, b *userpb.User) int { return int(a.GetId() - b.GetId()) })
	if limit > 0 && len(users) > limit {
		users = users[:limit]
	}
	return users
}

// userService is the demo service as one instance serves it.
type userService struct {
	userpb.UnimplementedUserServiceServer

	store *userStore
	addr  string
}

// GetUser implements the service.
func (s *userService) GetUser(_ context.Context, req *userpb.GetUserRequest) (*userpb.User, error) {
	user, ok := s.store.get(req.GetId())
	if !ok {
		return nil, status.Errorf(codes.NotFound, "user %d does not exist", req.GetId())
	}
	user.ServedBy = s.addr
	return user, nil
}

// ListUsers implements the service.
func (s *userService) ListUsers(_ context.Context, req *userpb.ListUsersRequest) (*userpb.ListUsersResponse, error) {
	if req.GetPageSize() < 0 {
		return nil, status.Error(codes.InvalidArgument, "page_size must not be negative")
	}
	users := s.store.list(req.GetRole(), int(req.GetPageSize()))
	for _, user := range users {
		user.ServedBy = s.addr
	}
	return &userpb.ListUsersResponse{Users: users}, nil
}

// CreateUser implements the service.
func (s *userService) CreateUser(_ context.Context, req *userpb.CreateUserRequest) (*userpb.User, error) {
	if strings.TrimSpace(req.GetUser().GetName()) == "" {
		return nil, status.Error(codes.InvalidArgument, "user.name must not be empty")
	}
	user := s.store.add(req.GetUser())
	user.ServedBy = s.addr
	return user, nil
}

// DeleteUser implements the service.
func (s *userService) DeleteUser(_ context.Context, req *userpb.GetUserRequest) (*emptypb.Empty, error) {
	if !s.store.remove(req.GetId()) {
		return nil, status.Errorf(codes.NotFound, "user %d does not exist", req.GetId())
	}
	return &emptypb.Empty{}, nil
}

// Ticks implements the service.
func (s *userService) Ticks(req *userpb.TicksRequest, stream grpc.ServerStreamingServer[userpb.Tick]) error {
	interval := time.Second
	if ms := req.GetIntervalMs(); ms > 0 {
		interval = time.Duration(ms) * time.Millisecond
	}
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for number := int32(1); ; number++ {
		if err := stream.Send(&userpb.Tick{Number: number, At: timestamppb.Now(), ServedBy: s.addr}); err != nil {
			return err
		}
		if number == req.GetCount() {
			return nil
		}
		select {
		case <-ticker.C:
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
	}
}
