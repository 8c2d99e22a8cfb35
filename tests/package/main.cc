#include <cstdio>

#include <rondo/rondo.h>

int main() {
  rondo::Graph g;
  rondo::Var x = g.placeholder("x", rondo::f32, {"T", 3});
  std::puts(g.name_of(x).c_str());
}
