// RUN: gmc-opt %s -verify-diagnostics -split-input-file

// expected-error @below {{aligns to 48, which is not a power of two}}
plan.arena host bytes(64) align(48) {
}

// -----

// expected-note @below {{the arena}}
plan.arena host bytes(64) align(64) {
  // expected-error @below {{'w' [64, 128) lies outside the arena of 64 bytes}}
  %w = plan.buffer parameter "w" at 64 : memref<64xi8>
}

// -----

// expected-note @below {{the arena}}
plan.arena cuda bytes(1024) align(256) {
  // expected-error @below {{'w' [64, 320) is not aligned to 256 bytes}}
  %w = plan.buffer parameter "w" at 64 : memref<256xi8>
}

// -----

// expected-note @below {{the arena}}
plan.arena cuda bytes(1024) align(256) {
  // expected-error @below {{'w' [0, 100) is not aligned to 256 bytes}}
  %w = plan.buffer parameter "w" at 0 : memref<100xi8>
}

// -----

// expected-error @below {{lies in no plan.arena}}
%w = plan.buffer parameter "w" at 0 : memref<64xi8>

// -----

plan.arena host bytes(256) align(64) {
  // expected-note @below {{the other buffer}}
  %a = plan.buffer parameter "a" at 0 : memref<128xi8>
  // expected-error @below {{'b' [64, 192) overlaps 'a' [0, 128), which is live at the same time}}
  %b = plan.buffer parameter "b" at 64 : memref<128xi8>
}

// -----

plan.arena host bytes(64) align(64) {
  // expected-note @below {{the first one}}
  plan.program "train" micro_batch(1) {
  }
  // expected-error @below {{is the second one named 'train'}}
  plan.program "train" micro_batch(1) {
  }
}

// -----

plan.arena host bytes(64) align(64) {
  // expected-error @below {{does not belong directly into a plan.arena: residents and programs do}}
  plan.arena host bytes(64) align(64) {
  }
}

// -----

// expected-error @below {{expects parent op 'plan.arena'}}
plan.program "train" micro_batch(1) {
}

// -----

plan.arena host bytes(64) align(64) {
  // expected-note @below {{the buffer}}
  %w = plan.buffer parameter "w" at 0 : memref<64xi8>
  // expected-error @below {{of 68 bytes at 0 reaches outside its buffer of 64 bytes}}
  %v = plan.view %w : memref<64xi8> to memref<17xf32>
}

// -----

plan.arena host bytes(64) align(64) {
  %w = plan.buffer parameter "w" at 0 : memref<64xi8>
  // expected-error @below {{starts at byte 2, which is not a multiple of its element's size}}
  %v = plan.view %w at 2 : memref<64xi8> to memref<4xf32>
}

// -----

plan.arena host bytes(64) align(64) {
  %w = plan.buffer parameter "w" at 0 : memref<64xi8>
  // expected-error @below {{has the layout strided<[1, 4]>: views are row-major and dense}}
  %v = plan.view %w : memref<64xi8> to memref<4x4xf32, strided<[1, 4]>>
}

// -----

func.func @f(%w: memref<64xi8>) {
  // expected-error @below {{is not a view of a plan.buffer}}
  %v = plan.view %w : memref<64xi8> to memref<16xf32>
  return
}

// -----

plan.arena host bytes(64) align(64) {
  plan.program "train" micro_batch(1) {
    // expected-error @below {{runs 0 times: the count is at least 1}}
    plan.loop count(0) {
    }
  }
}

// -----

plan.arena host bytes(64) align(64) {
  plan.program "train" micro_batch(1) {
    // expected-note @below {{the outer loop}}
    plan.loop count(2) {
      // expected-error @below {{is inside another loop: a micro-step has no parts that repeat}}
      plan.loop count(2) {
      }
    }
  }
}

// -----

// expected-error @below {{stands outside of a plan.program}}
plan.loop count(2) {
}

// -----

plan.arena host bytes(64) align(64) {
  plan.program "train" micro_batch(1) {
    plan.loop count(2) {
      // expected-error @below {{does not belong into a plan.loop: only launches on views of the arena do}}
      %a = memref.alloc() : memref<4xf32>
    }
  }
}

// -----

plan.arena host bytes(64) align(64) {
  plan.program "train" micro_batch(1) {
    // expected-error @below {{does not belong into a plan.program: only launches on views of the arena do}}
    %a = memref.alloc() : memref<4xf32>
  }
}

// -----

plan.arena host bytes(64) align(64) {
  plan.program "train" micro_batch(1) {
    // expected-error @below {{'a' [0, 64) is used by no launch and no tensor}}
    %a = plan.buffer activation "a" at 0 : memref<64xi8>
  }
}

// -----

plan.arena host bytes(64) align(64) {
  %w = plan.buffer parameter "w" at 0 : memref<64xi8>
  %v = plan.view %w : memref<64xi8> to memref<16xf32>
  plan.program "train" micro_batch(1) {
    // expected-error @below {{launches 'k', which is no function of this module}}
    plan.launch @k "nn.relu" forward ins(%v : memref<16xf32>) cost(0 flops, 0 bytes, 0.0 us)
  }
}

// -----

// expected-note @below {{the kernel}}
func.func private @k(tensor<16xf32>)
plan.arena host bytes(64) align(64) {
  %w = plan.buffer parameter "w" at 0 : memref<64xi8>
  %v = plan.view %w : memref<64xi8> to memref<16xf32>
  plan.program "train" micro_batch(1) {
    // expected-error @below {{launches 'k', which is not a plan.kernel function}}
    plan.launch @k "nn.relu" forward ins(%v : memref<16xf32>) cost(0 flops, 0 bytes, 0.0 us)
  }
}

// -----

// expected-note @below {{the kernel}}
func.func private @k(tensor<16xf32>) -> tensor<16xf32> attributes {plan.kernel}
plan.arena host bytes(64) align(64) {
  %w = plan.buffer parameter "w" at 0 : memref<64xi8>
  %v = plan.view %w : memref<64xi8> to memref<16xf32>
  plan.program "train" micro_batch(1) {
    // expected-error @below {{gives 0 results, the kernel has 1}}
    plan.launch @k "nn.relu" forward ins(%v : memref<16xf32>) cost(0 flops, 0 bytes, 0.0 us)
  }
}

// -----

// expected-note @below {{the kernel}}
func.func private @k(tensor<4x4xf32>) attributes {plan.kernel}
plan.arena host bytes(64) align(64) {
  %w = plan.buffer parameter "w" at 0 : memref<64xi8>
  %v = plan.view %w : memref<64xi8> to memref<16xf32>
  plan.program "train" micro_batch(1) {
    // expected-error @below {{operand 0 is a memref<16xf32>, the kernel's lies in a memref<4x4xf32>}}
    plan.launch @k "nn.relu" forward ins(%v : memref<16xf32>) cost(0 flops, 0 bytes, 0.0 us)
  }
}

// -----

// expected-note @below {{the kernel}}
func.func private @k(f32) attributes {plan.kernel}
plan.arena host bytes(64) align(64) {
  %w = plan.buffer parameter "w" at 0 : memref<64xi8>
  %v = plan.view %w : memref<64xi8> to memref<16xf32>
  plan.program "train" micro_batch(1) {
    // expected-error @below {{the kernel's operand 0 is not a tensor}}
    plan.launch @k "nn.relu" forward ins(%v : memref<16xf32>) cost(0 flops, 0 bytes, 0.0 us)
  }
}

// -----

func.func private @k(tensor<16xf32>) -> tensor<16xf32> attributes {plan.kernel}
plan.arena host bytes(64) align(64) {
  plan.program "train" micro_batch(1) {
    // expected-note @below {{the buffer}}
    %a = plan.buffer activation "a" at 0 : memref<64xi8>
    %v = plan.view %a : memref<64xi8> to memref<16xf32>
    // expected-error @below {{reads 'a' [0, 64) as operand 0, which nothing before it has written}}
    plan.launch @k "nn.relu" forward ins(%v : memref<16xf32>) outs(%v : memref<16xf32>) cost(0 flops, 0 bytes, 0.0 us)
  }
}

// -----

// Live at the same time through a reader that comes later.
func.func private @k(tensor<16xf32>) -> tensor<16xf32> attributes {plan.kernel}
plan.arena host bytes(128) align(64) {
  %w = plan.buffer parameter "w" at 0 : memref<64xi8>
  %v = plan.view %w : memref<64xi8> to memref<16xf32>
  plan.program "train" micro_batch(1) {
    // expected-note @below {{the other buffer}}
    %a = plan.buffer activation "a" at 64 : memref<64xi8>
    %av = plan.view %a : memref<64xi8> to memref<16xf32>
    plan.launch @k "nn.relu" forward ins(%v : memref<16xf32>) outs(%av : memref<16xf32>) cost(0 flops, 0 bytes, 0.0 us)
    // expected-error @below {{'b' [64, 128) overlaps 'a' [64, 128), which is live at the same time}}
    %b = plan.buffer activation "b" at 64 : memref<64xi8>
    %bv = plan.view %b : memref<64xi8> to memref<16xf32>
    plan.launch @k "nn.relu" forward ins(%v : memref<16xf32>) outs(%bv : memref<16xf32>) cost(0 flops, 0 bytes, 0.0 us)
    plan.launch @k "nn.relu" forward ins(%av : memref<16xf32>) outs(%av : memref<16xf32>) cost(0 flops, 0 bytes, 0.0 us)
  }
}

// -----

// A buffer of the program that a loop accumulates into is live through the whole loop, before its first use there too.
func.func private @k(tensor<16xf32>) -> tensor<16xf32> attributes {plan.kernel}
func.func private @zero() -> tensor<16xf32> attributes {plan.kernel}
plan.arena host bytes(128) align(64) {
  %w = plan.buffer parameter "w" at 0 : memref<64xi8>
  %v = plan.view %w : memref<64xi8> to memref<16xf32>
  plan.program "train" micro_batch(1) {
    // expected-note @below {{the other buffer}}
    %sum = plan.buffer gradient "sum" at 64 : memref<64xi8>
    %sumv = plan.view %sum : memref<64xi8> to memref<16xf32>
    plan.launch @zero "nn.zero" update outs(%sumv : memref<16xf32>) cost(0 flops, 0 bytes, 0.0 us)
    plan.loop count(2) {
      plan.launch @k "nn.add" backward ins(%sumv : memref<16xf32>) outs(%sumv : memref<16xf32>) cost(0 flops, 0 bytes, 0.0 us)
      // expected-error @below {{'t' [64, 128) overlaps 'sum' [64, 128), which is live at the same time}}
      %t = plan.buffer activation "t" at 64 : memref<64xi8>
      %tv = plan.view %t : memref<64xi8> to memref<16xf32>
      plan.launch @k "nn.relu" forward ins(%v : memref<16xf32>) outs(%tv : memref<16xf32>) cost(0 flops, 0 bytes, 0.0 us)
    }
  }
}

// -----

// A result that the trainer reads lives to where the tensor stands.
func.func private @k(tensor<16xf32>) -> tensor<16xf32> attributes {plan.kernel}
plan.arena host bytes(128) align(64) {
  %w = plan.buffer parameter "w" at 0 : memref<64xi8>
  %v = plan.view %w : memref<64xi8> to memref<16xf32>
  plan.program "eval" micro_batch(1) {
    // expected-note @below {{the other buffer}}
    %a = plan.buffer activation "a" at 64 : memref<64xi8>
    %av = plan.view %a : memref<64xi8> to memref<16xf32>
    plan.launch @k "nn.relu" forward ins(%v : memref<16xf32>) outs(%av : memref<16xf32>) cost(0 flops, 0 bytes, 0.0 us)
    // expected-error @below {{'b' [64, 128) overlaps 'a' [64, 128), which is live at the same time}}
    %b = plan.buffer activation "b" at 64 : memref<64xi8>
    %bv = plan.view %b : memref<64xi8> to memref<16xf32>
    plan.launch @k "nn.relu" forward ins(%v : memref<16xf32>) outs(%bv : memref<16xf32>) cost(0 flops, 0 bytes, 0.0 us)
    plan.tensor output "y" is %av : memref<16xf32>
  }
}

// -----

func.func private @k(tensor<16xf32>) -> tensor<16xf32> attributes {plan.kernel}
plan.arena host bytes(192) align(64) {
  %w = plan.buffer parameter "w" at 0 : memref<128xi8>
  // expected-note @below {{the other view}}
  %v = plan.view %w : memref<128xi8> to memref<16xf32>
  // expected-note @below {{the one view}}
  %u = plan.view %w at 32 : memref<128xi8> to memref<16xf32>
  plan.program "train" micro_batch(1) {
    // expected-error @below {{writes bytes [32, 64) of the arena that are also an operand's, from another start}}
    plan.launch @k "nn.relu" forward ins(%v : memref<16xf32>) outs(%u : memref<16xf32>) cost(0 flops, 0 bytes, 0.0 us)
  }
}

// -----

func.func private @k() -> (tensor<16xf32>, tensor<16xf32>) attributes {plan.kernel}
plan.arena host bytes(192) align(64) {
  %w = plan.buffer state "w" at 0 : memref<64xi8>
  // expected-note @below {{the one view}}
  // expected-note @below {{the other view}}
  %v = plan.view %w : memref<64xi8> to memref<16xf32>
  plan.program "train" micro_batch(1) {
    // expected-error @below {{writes bytes [0, 64) of the arena that are also another result's}}
    plan.launch @k "nn.relu" forward outs(%v, %v : memref<16xf32>, memref<16xf32>) cost(0 flops, 0 bytes, 0.0 us)
  }
}

// -----

func.func private @k() -> tensor<16xf32> attributes {plan.kernel}
plan.arena host bytes(192) align(64) {
  %w = plan.buffer state "w" at 0 : memref<64xi8>
  // expected-note @below {{the other view}}
  %v = plan.view %w : memref<64xi8> to memref<16xf32>
  // expected-note @below {{the one view}}
  %s = plan.view %w at 8 : memref<64xi8> to memref<8xi8>
  plan.program "train" micro_batch(1) {
    // expected-error @below {{has scratch in bytes [8, 16) of the arena that are also another result's}}
    plan.launch @k "nn.relu" forward outs(%v : memref<16xf32>) workspace(%s : memref<8xi8>) cost(0 flops, 0 bytes, 0.0 us)
  }
}

// -----

func.func private @k(tensor<16xf32>) attributes {plan.kernel}
func.func @f(%m: memref<16xf32>) {
  // expected-error @below {{operand #0 is not a plan.view}}
  plan.launch @k "nn.relu" forward ins(%m : memref<16xf32>) cost(0 flops, 0 bytes, 0.0 us)
  return
}

// -----

func.func private @k() -> tensor<16xf32> attributes {plan.kernel}
plan.arena host bytes(64) align(64) {
  %w = plan.buffer state "w" at 0 : memref<64xi8>
  %v = plan.view %w : memref<64xi8> to memref<16xf32>
  plan.program "train" micro_batch(1) {
    // expected-error @below {{recomputes, but does not say which launch computed it first (recompute_of)}}
    plan.launch @k "nn.relu" recompute outs(%v : memref<16xf32>) cost(0 flops, 0 bytes, 0.0 us)
  }
}

// -----

func.func private @k() -> tensor<16xf32> attributes {plan.kernel}
plan.arena host bytes(64) align(64) {
  %w = plan.buffer state "w" at 0 : memref<64xi8>
  %v = plan.view %w : memref<64xi8> to memref<16xf32>
  plan.program "train" micro_batch(1) {
    // expected-error @below {{of stage update cannot recompute}}
    plan.launch @k "nn.relu" update outs(%v : memref<16xf32>) cost(0 flops, 0 bytes, 0.0 us) recompute_of([0], 1.0 us)
  }
}
