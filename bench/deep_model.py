#!/usr/bin/env python3
"""A deep network without weights, as an ONNX textproto on stdout, for timing the planner.

deep_model.py resnet|gpt LAYERS | protoc --encode=onnx.ModelProto -I/usr/include/onnx onnx.proto > deep.onnx

resnet: LAYERS bottleneck blocks with BatchNormalization in training mode on 56x56 images; gpt: LAYERS transformer blocks of width 256, 4 heads,
128 tokens. Both end in logits, so that --loss=auto finds cross-entropy.
"""
import sys

nodes, initializers = [], []


def attribute(name, value):
    if isinstance(value, list):
        return f'attribute {{ name: "{name}" type: INTS ' + " ".join(f"ints: {v}" for v in value) + " }"
    if isinstance(value, float):
        return f'attribute {{ name: "{name}" type: FLOAT f: {value} }}'
    return f'attribute {{ name: "{name}" type: INT i: {value} }}'


def node(op, inputs, name, outputs=1, **attributes):
    names = [name] if outputs == 1 else [f"{name}.{k}" for k in range(outputs)]
    nodes.append(f'node {{ op_type: "{op}" name: "{name}" ' + " ".join(f'input: "{i}"' for i in inputs) + " " +
                 " ".join(f'output: "{o}"' for o in names) + " " +
                 " ".join(attribute(k, v) for k, v in attributes.items()) + " }")
    return names[0] if outputs == 1 else names


def weight(name, *dims):
    initializers.append(f'initializer {{ name: "{name}" data_type: 1 ' + " ".join(f"dims: {d}" for d in dims) + " }")
    return name


def integers(name, *values):
    initializers.append(f'initializer {{ name: "{name}" data_type: 7 dims: {len(values)} ' +
                        " ".join(f"int64_data: {v}" for v in values) + " }")
    return name


def scalar(name, value):
    initializers.append(f'initializer {{ name: "{name}" data_type: 1 float_data: {value} }}')
    return name


def convolution(x, name, inputs, outputs, size, relu=True):
    x = node("Conv", [x, weight(name + ".weight", outputs, inputs, size, size)], name, kernel_shape=[size, size],
             pads=[size // 2] * 4)
    parts = [weight(f"{name}.bn.{part}", outputs) for part in ("scale", "bias", "mean", "var")]
    x = node("BatchNormalization", [x, *parts], name + ".bn", 3, training_mode=1)[0]
    return node("Relu", [x], name + ".relu") if relu else x


def resnet(layers):
    x = convolution("image", "stem", 3, 64, 3)
    for k in range(layers):
        y = convolution(x, f"block{k}.a", 64, 16, 1)
        y = convolution(y, f"block{k}.b", 16, 16, 3)
        y = convolution(y, f"block{k}.c", 16, 64, 1, relu=False)
        x = node("Relu", [node("Add", [x, y], f"block{k}.add")], f"block{k}.relu")
    x = node("Flatten", [node("GlobalAveragePool", [x], "pool")], "flatten")
    node("Gemm", [x, weight("head.weight", 10, 64), weight("head.bias", 10)], "logits", transB=1)
    return 'name: "image" type { tensor_type { elem_type: 1 shape {', [3, 56, 56], [10]


def linear(x, name, inputs, outputs):
    x = node("MatMul", [x, weight(name + ".weight", inputs, outputs)], name)
    return node("Add", [x, weight(name + ".bias", outputs)], name + ".add")


def norm(x, name, width):
    return node("LayerNormalization", [x, weight(name + ".scale", width), weight(name + ".bias", width)], name, axis=-1)


def gpt(layers, width=256, heads=4, length=128, words=1000):
    x = node("Gather", [weight("tokens.weight", words, width), "ids"], "tokens", axis=0)
    x = node("Add", [x, weight("positions", length, width)], "embedding")
    split = integers("split", width, width, width)
    byHead, joined = integers("by_head", 0, length, heads, width // heads), integers("joined", 0, length, width)
    root, half, one, scale = (scalar("root2", 2 ** 0.5), scalar("half", 0.5), scalar("one", 1.0),
                              scalar("scale", (width // heads) ** -0.5))
    for k in range(layers):
        name = f"h{k}"
        parts = node("Split", [linear(norm(x, name + ".ln1", width), name + ".qkv", width, 3 * width), split],
                     name + ".split", 3, axis=-1)
        q, key, v = (node("Transpose", [node("Reshape", [part, byHead], f"{name}.{n}.heads")], f"{name}.{n}", perm=perm)
                     for part, n, perm in zip(parts, "qkv", ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3])))
        s = node("Softmax", [node("Mul", [node("MatMul", [q, key], name + ".scores"), scale], name + ".scaled")],
                 name + ".softmax", axis=-1)
        y = node("Transpose", [node("MatMul", [s, v], name + ".mix")], name + ".back", perm=[0, 2, 1, 3])
        x = node("Add", [x, linear(node("Reshape", [y, joined], name + ".join"), name + ".out", width, width)],
                 name + ".residual1")
        y = linear(norm(x, name + ".ln2", width), name + ".up", width, 4 * width)
        erf = node("Add", [node("Erf", [node("Div", [y, root], name + ".gelu.div")], name + ".gelu.erf"), one],
                   name + ".gelu.one")
        y = node("Mul", [node("Mul", [y, erf], name + ".gelu.mul"), half], name + ".gelu")
        x = node("Add", [x, linear(y, name + ".down", 4 * width, width)], name + ".residual2")
    node("MatMul", [norm(x, "ln", width), weight("head.weight", width, words)], "logits")
    return 'name: "ids" type { tensor_type { elem_type: 7 shape {', [length], [length, words]


make = {"resnet": resnet, "gpt": gpt}.get(sys.argv[1]) if len(sys.argv) == 3 else None
if not make:
    sys.exit(__doc__)
given, shape, result = make(int(sys.argv[2]))
dims = lambda shape: 'dim { dim_param: "batch" } ' + " ".join(f"dim {{ dim_value: {d} }}" for d in shape)
print('ir_version: 8 opset_import { version: 17 } graph { name: "deep"')
print("\n".join(nodes + initializers))
print(f"input {{ {given} {dims(shape)} }} }} }} }}")
print(f'output {{ name: "logits" type {{ tensor_type {{ elem_type: 1 shape {{ {dims(result)} }} }} }} }}')
print("}")
