#include <vector>

#include "error_codes.h"

namespace rondo::tool {
namespace {

// code | fault | when | what to do. A word in capitals stands for whatever is there.
constexpr std::string_view kTable = R"table(
OP.inputs.arity | argument | more or fewer operands than the signature has | give as many as it names; an optional one that is not used is an empty Var or Tensor
OP.inputs.missing | argument | no operand is there that would say in which graph the op belongs | give at least one
OP.graph.mixed | argument | an operand belongs to another graph | use values of one graph, or of the graphs around a body
OP.graph.body | argument | a value of a body (of a scan, a branch, a recurrence) is used outside of it, where it has no value | return it as a result of the body, and use what comes out
OP.OPERAND.missing | argument | an operand is required and was not given | give it
OP.OPERAND.dtype | argument | another dtype than the signature takes, or than the operand that fixed it has | `cast` it; on tensors `.to(dtype)`
OP.OPERAND.rank | argument | another rank than the signature has | give the axes that the text names
OP.OPERAND.dim | argument | a dimension differs from what another operand or an attribute fixed | the text says which one fixed it and to what
OP.OPERAND.gradient | unsupported | a gradient by this operand is asked for, and the op refuses it (`!` in its signature) | leave it out of what is differentiated by, or put `stop_gradient` before it
OP.OPERAND.range | argument | a value (an index, a length) is out of range when the op runs | the text says where it stands and what is allowed
OP.OPERAND.whole | argument | a file of vectors gives a fraction where the op takes integers | mend the file
OP.ATTRIBUTE.missing | argument | an attribute is required and was not given | give it
OP.ATTRIBUTE.unknown | argument | the op has no such attribute | the text names the closest one
OP.ATTRIBUTE.type | argument | the attribute has another type | give the type that the text names
OP.ATTRIBUTE.value | argument | no spelling that the attribute accepts | the text lists them
OP.ATTRIBUTE.range | argument | a number, or an axis, out of the attribute's range | the text gives the range
OP.ATTRIBUTE.nan | argument | NaN for an attribute | give a number
OP.gradient.missing | unsupported | the op has neither a gradient nor a lowering | give its definition a `vjp`, a `lower` or `no_gradient`
OP.CALLBACK.syntax | argument | a signature of the op's definition cannot be read (CALLBACK: `signature`, `sig_of`) | the text says where and why
OP.CALLBACK.letter | argument | a letter of the signature is fixed by no operand, or two by one axis | name it in an operand, or give `.letters` or `.infer`
OP.CALLBACK.twice | argument | the signature gives two operands, or two results, one name | rename one
OP.CALLBACK.last | argument | a slot of any number (`*`) is not the last | put it last
OP.CALLBACK.name | argument | a function of the op's definition (`lower`, `vjp`, `infer`, ...) asks for an operand, result or attribute that the op has not, or `.states` or `.aliases` names one | the text lists those that there are
OP.CALLBACK.type | argument | a function of the op's definition reads an attribute as another type than it has | the text says both
OP.CALLBACK.count | argument | a function of the op's definition gives another number of results, or gradients, than the signature says | give one for each, an empty Var where there is none
OP.CALLBACK.result | argument | a function of the op's definition gives a result, or a gradient, of another dtype or shape than the call has | the text says both
OP.CALLBACK.graph | argument | a function of the op's definition gives a value of another graph | build it of the operands, or in `c.graph()`
OP.CALLBACK.itself | argument | the lowering of the op calls the op itself | write it in other ops
OP.kernel.missing | unsupported | no kernel of any backend takes this call, and it has no lowering | the text says what was tried; use another dtype, or write a kernel
OP.shape.bind | argument | a result has another shape under these values than the graph said | mend the op's `infer`
OP.config.enum | argument | a configuration struct holds a number that is no name of its enumeration | set it by name
OP.kernel.symbol | argument | a kernel whose size is a symbol | give its sizes as numbers
OP.OPERAND.symbol | argument | a dimension that says how many results there are, or how long a tuple is, is a symbol | make it a number
OP.x.steps | argument | with a stride, an axis of a length of which no multiple is known | name it "2*N", and pad what is fed to such a length
OP.c_last.unused | argument | a first cell state is given to a layer that has none | leave it out
OP.x.body | unsupported | a layer that draws one mask a sequence is used within a recurrence in a recurrence | apply it to the inner one's inputs or outputs
OP.x.rows | argument | within a recurrence the first axis of x is not the rows | give x its rows first
OP.shape.rows | argument | random numbers within a recurrence whose shape does not begin with the rows, or names them twice | begin it with x.dim(0); for the same numbers at each step draw them before the loop
OP.shape.body | unsupported | random numbers within a recurrence in a recurrence | draw them around both, and give them as xs

placeholder.shape.negative | argument | a placeholder with a negative dimension | give 0 or more, or a symbol
constant.value.missing | argument | a constant without a tensor | give one
variable.initial.missing | argument | a variable without a first value | give one
placeholder.NAME.missing | argument | a placeholder that the fetched values need was not fed | feed it
placeholder.NAME.empty | argument | a placeholder was fed an empty Tensor | feed a tensor with a shape
placeholder.NAME.dtype | argument | what is fed has another dtype | convert it with `.to(dtype)`
placeholder.NAME.rank | argument | what is fed has another rank | reshape it
placeholder.NAME.dim | argument | what is fed has another length on an axis, or two feeds give a symbol different values | the text says which placeholder fixed it

tensor.dims.negative | argument | a tensor with a negative dimension | give 0 or more
tensor.memory.exhausted | unsupported | the system gives no memory for a tensor or a run | make the batch or the sequences smaller; in training `CompileOptions::recompute` keeps less for gradients, and `memory_budget` turns that on where a run needs more bytes than you allow (docs/training.md); `rondo inspect --plan` and `Trainer::explain` tell before how much a run needs
tensor.data.null | argument | a view of a null pointer | give the memory
tensor.data.dtype | argument | elements are asked for as another type than the tensor's | ask for its own, or convert with `.to(dtype)`
tensor.values.count | argument | more or fewer values than the shape holds | give as many
tensor.dim.range | argument | an axis that the tensor does not have | count from 0, or from -1 backwards
tensor.index.range | argument | an index outside of the tensor | stay below `size()`
tensor.item.size | argument | `item()` of a tensor that has not one element | reduce it first, or use `at(i)`
tensor.reshape.size | argument | another shape with another number of elements | give a shape of the same size
dtype.name.unknown | argument | no dtype has this name | the text lists them
shape.dim.syntax | argument | a text is no dimension | write sums, differences and products of symbols and integers: "2*(I+H)"
shape.dim.terms | argument | a dimension of too many terms | use a symbol of its own for it
shape.dim.negative | argument | a dimension is negative once its symbols have values | the text shows shape and values
shape.symbol.unbound | argument | a symbol has no value: nothing that is fed has it in its shape | feed something that does, or use a number
shape.size.overflow | argument | a size does not fit 64 bits | make the shape smaller
var.graph.none | argument | an empty Var is asked for its graph | give it a value first; the text says which option asks for a result that is not there
list.index.range | argument | an index beyond a list: of the states of a cell, of results, of the axes of a shape | the text says what the list holds and who fixed how many
var.dim.range | argument | an axis that the value does not have | count from 0, or from -1 backwards
operand.value.missing | argument | an empty Var or Tensor beside an operator | give it a value first; the text says which option asks for a result that is not there
operand.literal.dtype | argument | a literal that the dtype beside it cannot hold (0.5 beside i32) | write `cast(x, f32)` to compute in floats

graph.name.length | argument | an empty name, or one that is too long | the text gives the limit
graph.name.reserved | argument | a name that the graph uses itself ("%3") | begin it with something else
graph.name.taken | argument | another value has this name | choose another, or open a scope
graph.name.unknown | argument | no value has this name | the text lists those that there are
graph.body.depth | argument | bodies stand too deep in bodies | make the nesting flatter
graph.verify.attributes | internal | a node's attributes do not fit its op | please report it
graph.verify.depth | internal | bodies stand too deep in bodies | please report it
graph.verify.id | internal | a node carries a wrong number | please report it
graph.verify.input | internal | an input is no leaf, or is given twice | please report it
graph.verify.leaf | internal | outputs need a leaf that is no input, or a variable stands in a body | please report it
graph.verify.name | internal | names and values do not fit | please report it
graph.verify.op | internal | a node has no op | please report it
graph.verify.operand | internal | an operand does not come before its node | please report it
graph.verify.output | internal | an output does not exist | please report it
graph.verify.slot | internal | an operand is no result of its node | please report it
graph.verify.type | internal | a result has another type than inference gives | please report it
graph.rewrite.bound | internal | rewriting does not end | please report it, with the rule that the text names
graph.rewrite.build | internal | a rewrite cannot build its result | please report it, with the rule that the text names
graph.rewrite.type | internal | a rewrite changes a type | please report it, with the rule that the text names
rondo.internal | internal | a broken promise of the library's own | please report it
registry.op.incomplete | argument | a definition without name or doc | give both
registry.op.taken | argument | another op has this name | choose another
registry.op.unknown | argument | no op has this name | the text names the closest one; register your own before it is used

fused.operands.type | argument | an operand of a fused node has another dtype or shape than its body takes | programs write the ops, and plans fuse them
segments.operands.type | argument | an operand of a segments node has another dtype or shape than its body takes | plans are made of such nodes; a program has no need to write one
segments.body.steps | argument | the steps of a segment, $steps in the body, are not the first axis of what runs over time, or an axis of anything else | give xs and ys [$steps,...], and nothing else
segments.extent.count | argument | the extent of a segments node is not [T,B], or a size is below 0 | give both, 0 or more
fused_matmul.operands.type | argument | an operand of a fused node has another dtype or shape than its body takes, or may not fit | programs write the ops, and plans fuse them
recurrence.body.rows | argument | a body uses a value of the graph around it whose first axis is the rows, or a result without rows | write `per_row(v)`; for [T,B,...] `per_step(v)`
recurrence.body.states | argument | the body gives another number of states than there are first ones | give each state its next value, in order
recurrence.body.mixed | argument | an op in the body takes the rows together | move it out of the body: that is for each row by itself
recurrence.body.missing | argument | the op is called without a body | use the builder `recurrence`
recurrence.body.inputs | argument | the body has another number of inputs than the operands call for | use the builder `recurrence`
recurrence.body.outputs | argument | the body has fewer outputs than states and results | use the builder `recurrence`
recurrence.body.state | argument | a state's next value has another type or shape than the first one | give both the same
recurrence.operands.arity | argument | more or fewer operands than the body has inputs | use the builder `recurrence`
recurrence.operands.missing | argument | an operand is empty | give it
recurrence.operands.dtype | argument | an operand has another dtype than the body's input | `cast` it
recurrence.operands.dim | argument | an operand or state has another shape than the body's | the text shows both
recurrence.extent.count | argument | `extent` is not [T,B] | give two dimensions
recurrence.extent.missing | argument | nothing fixes the number of steps or rows | give `.steps` and `.rows`
recurrence.window.dtype | argument | begin or end are no integers | give i32 or i64
recurrence.window.range | argument | a row's steps do not lie in [0, T] | give 0 <= begin <= end <= T
recurrence.LIST.missing | argument | one of the states, xs or per_row is an empty Var | give it a value
recurrence.LIST.rank | argument | a state or per_row has no row axis, or an x no time axis | give [B,...], for xs [T,B,...]
cond.branches.count | argument | the branches give different numbers of values, or none | give as many in both
cond.branches.type | argument | the branches give values of different types | give both the same, or `cast` one
cond.predicate.type | argument | the predicate is not one bool | compare, or reduce with `reduce_any` or `reduce_all`
while_loop.states.count | argument | there is no state | give at least one
while_loop.step.count | argument | a step gives another number of states than there are first ones | give each state its next value, in order
while_loop.step.type | argument | a step gives a state of another type than the first one | give both the same
while_loop.condition.type | argument | the condition is not one bool | compare, or reduce with `reduce_any` or `reduce_all`
while_loop.max_iterations.range | argument | the bound is negative | give 0 or more
scan.step.type | argument | a step gives a state of another type than the first one | give both the same
scan.step.count | argument | a step gives another number of states than there are first ones | give each state its next value, in order
scan.xs.count | argument | there is nothing to scan | give a value whose leading axis is time
FUNCTION.value.missing | argument | `per_row` or `per_step` of an empty Var | give it a value
FUNCTION.value.body | argument | `per_row` or `per_step` of a value of the body itself | give a value of the graph around the body
per_step.value.body | argument | `per_step` outside of any body | write slice(x, 0, t, t + 1)
FUNCTION.value.outer | argument | `per_row` or `per_step` of a value two bodies further out | ask for it in the body between, and give its result
FUNCTION.value.dim | argument | `per_row` or `per_step` of a value with other first axes | give [B,...] or [T,B,...] of this recurrence

layer.x.missing | argument | x is an empty Var | give it a value
layer.x.rank | argument | x has not the axes of its data_format | give the axes that the text names
layer.cell.missing | argument | there is no cell | give one
layer.cell.state | argument | the cell gives another number of states, or a state of another type, than went in | give each state its next value
layer.cell.output | argument | the first axis of the cell's output is not the rows of x, or the output has not the axes that format and direction mode need | `per_row(v)` gives the rows of a Var around the cell; the text says which axes
layer.init.missing | argument | a first state is an empty Var | give it a value
layer.init.dim | argument | a first state has other rows than x | give [B,...]
layer.lengths.type | argument | lengths are no [B] of integers | give i32 or i64, one for each row of x
layer.data_format.direction | argument | BIDIR_EXTRA_DIM in another format than TNS | set data_format TNS, or another mode
layer.backward.missing | argument | a BIDIR mode, and no backward cell | give `.backward`
layer.backward.state | argument | the two cells differ in states or output | make them alike
OP.lengths.range | argument | a length is negative, or more than T | clip lengths to [0, T]
zero_state.width.range | argument | a state of less than one unit | give 1 or more
zoneout.rate.range | argument | a rate outside of [0, 1) | give one in it
join_directions.last.rank | argument | no last state [2,B,H] of a bidirectional layer | give the last state of a BIDIR mode
stacked.x.missing | argument | x is an empty Var | give it a value
stacked.x.rank | argument | variational dropout on an input without the three axes of its data_format | give the axes that the text names
stacked.layers.missing | argument | no layers, or one of them is empty | give one function a layer
stacked.layer.output | argument | a layer gives an empty Var | ask the layer for all steps, and return them
stacked.residual.shape | argument | a layer's output has not the shape of its input, which is to be added | begin residuals higher up, or make widths equal
stacked.residual_from.range | argument | it is not below the number of layers | count from 0
stacked.dropout.range | argument | a rate outside of [0, 1) | give one in it
time_distributed.x.rank | argument | x is empty, or has no axes of time and rows | give [T,B,...]
time_distributed.f.missing | argument | f is empty | give a function
time_distributed.f.rows | argument | f changes the number of rows | work on each row by itself
time_distributed.lengths.dim | argument | lengths are no [B] | give one for each row
time_distributed.lengths.range | argument | a length is negative, or more than T | clip lengths to [0, T]
variational_dropout.x.rank | argument | x has no axes of time and rows | give [T,B,...]
dense.x.dim | argument | x has no last axis, or one that is a symbol | give x a last axis of a known length
dense.units.range | argument | fewer than one unit | give 1 or more
embedding.NAME.range | argument | vocabulary or units are less than one | give 1 or more
multi_head_attention.units.heads | argument | heads do not divide the units | give heads that do
expand_dims.axis.range | argument | the result has no such axis | give one in the range that the text gives
slice.step.zero | argument | a step of 0 | give one that moves
slice.bounds.symbol | argument | how many elements there are between symbols in such steps is no polynomial | name lengths so that the step divides them, "2*N", or use numbers
gather.axis.range | argument | x has no such axis | give one in the range that the text gives
squeeze.axis.length | argument | the axis is not of length 1 | reduce or slice it first
rnn.mode.enum | argument | a mode that is no name of RnnMode | set it by name

permutation.n.body | unsupported | a permutation within a recurrence, where each row is by itself | draw it before the loop
layer_weights.size.range | argument | weights of a layer for less than one input or hidden unit | give 1 or more
INITIALIZER.fan.range | argument | a negative fan | give sizes of 0 or more
INITIALIZER.standard_deviation.range | argument | a negative standard deviation, or NaN | give 0 or more

gradients.loss.empty | argument | the loss is an empty Var | give it a value
gradients.loss.dtype | argument | the loss is no float | `cast` it before
gradients.loss.rank | argument | the loss is no scalar | `sum` or `mean` it
gradients.wrt.rolled | unsupported | a gradient by a value in a loop that an earlier gradient took as a whole | name it among the values of the earlier gradient too
vjp.cotangents.count | argument | not one cotangent for each output | give an empty Var for 0
vjp.cotangents.type | argument | a cotangent has another type than its output | give dtype and shape of the output
vjp.values.empty | argument | an output, or a value to differentiate by, is an empty Var | give it a value
vjp.inputs.empty | argument | an input is an empty Tensor | give it a value
jvp.inputs.empty | argument | an input is an empty Tensor | give it a value
jvp.values.empty | argument | a value to differentiate by is an empty Var | give it a value
jvp.tangents.count | argument | not one tangent for each value | give an empty Var for 0
jvp.tangents.type | argument | a tangent has another type than its value | give dtype and shape of the value
hvp.values.empty | argument | a value to differentiate by is an empty Var | give it a value
hvp.directions.count | argument | not one direction for each value | give an empty Var for 0
hvp.directions.type | argument | a direction has another type than its value | give dtype and shape of the value
jacobian.y.empty | argument | y is an empty Var | give it a value
jacobian.y.dtype | argument | y is no float | `cast` it before
jacobian.y.symbolic | argument | y has symbols in its shape: there is a backward pass for each element | give it sizes that are numbers
jacobian.y.size | argument | y has too many elements | `jvp` and `vjp` give products with a Jacobian of any size
value_and_gradients.inputs.empty | argument | an input is an empty Tensor | give it a value
hvp.inputs.empty | argument | an input is an empty Tensor | give it a value
hvp.f.count | argument | the function gives not one value | return the loss alone
jacobian.inputs.empty | argument | an input is an empty Tensor | give it a value
jacobian.f.count | argument | the function gives not one value | return one; a function of each for several
value_and_gradients.f.count | argument | the function gives not one value | return the loss alone
UPDATER.NAME.range | argument | a number of an updater, a schedule or a clip is out of range | the text gives the range
UPDATER.learning_rate.range | argument | a learning rate is no number, infinite or negative | give 0 or more
updater.gradients.count | argument | not one gradient for each variable | give them in the same order
updater.state.type | argument | the graph has another value under a name that the updater keeps a variable by | give that value another name
schedule.name.unknown | argument | a file names a schedule that this build has not | the text lists them
schedule.plateau.loss | argument | a rate that follows the loss, and no loss | give it as `.loss` to `updates_for`
schedule.plateau.losses | argument | a rate that follows the losses of a training is asked for by the step alone | train with it, or choose another schedule
regularization.except.unknown | argument | a name that none of the updated variables has | name variables that are updated
settings.attribute.missing | argument | a file lacks a number of its updater or schedule, or has another type there | get an undamaged file
updater.name.unknown | argument | a file names an updater that this build has not | the text lists them

backend.name.unknown | argument | this build has no such backend | the text lists those it has
plan.kernel.unknown | argument | no kernel has this name | take one of those that the text names; `rondo inspect --plan` shows those that are used
plan.value.size | argument | a value of more than 4 TiB, axes of length 0 not counted | make the shape smaller
plan.memory.budget | argument | a run needs more bytes than the budget | make the batch smaller or the budget larger
thread_team.threads.range | argument | a negative number of threads | give 1 or more, or 0 for one per core
thread_team.threads.start | unsupported | the system starts no more threads | ask for fewer
onednn.memory.exhausted | unsupported | oneDNN got no memory | free some, or make the batch smaller
cpu.isa.unknown | unsupported | an instruction set that this machine or build has not | the text lists those it has
session.sizes.missing | argument | `explain` is given no number for a dimension of what is fed | give one for each symbol that the text names
session.sizes.range | argument | `explain` is given a negative number for a dimension | give 0 or more
session.sizes.unknown | argument | `explain` is given a number for what no placeholder has | the text lists the symbols that there are
session.fetch.empty | argument | a fetched or updated value is an empty Var | give it a value
session.graph.mixed | argument | a value belongs to another graph than the session's | make the session of that graph
session.update.type | argument | an update has another type than its variable | `cast` or reshape it
session.update.variable | argument | what is updated is no variable | give a variable of the graph
session.feed.placeholder | argument | a value is fed to what is no placeholder | feed placeholders
session.feed.twice | argument | a placeholder is fed twice | feed it once
variables.name.unknown | argument | no variable has this name | the text lists those that there are
variables.value.type | argument | a value has another dtype or shape than its variable | give those of the variable
trainer.graph.variables | argument | the graph has no trainable variable | make weights with `variable`
trainer.clip_norm.range | argument | clip_norm is negative or no number | give 0 (off) or more
trainer.loss.finite | argument | the loss is NaN or infinite; the step was not made | make the learning rate smaller, clip gradients, look at the data
trainer.variable.finite | argument | a step would make a weight NaN or infinite, and was not made | make the learning rate smaller, clip gradients, look at the data
trainer.inputs.missing | argument | fit() does not know what to feed | name the placeholders in `TrainerConfig::inputs`, or use `update` with feeds of your own
trainer.epochs.range | argument | fit() is to end after fewer than 0 epochs | give how many are to be complete, those of earlier fits counted
trainer.data.empty | argument | there is no sequence to train on | give some
trainer.resume.batches | argument | an epoch was begun with another number of batches | give the same data and batch_size
streamify.time.missing | argument | nothing, or more than one thing, says which axis is time | write a symbol for the number of steps; name it by `StreamOptions::time`
streamify.node.steps | unsupported | an op of a stream takes several steps together | leave it out of what is streamed; docs/streaming.md says what can be
streamify.node.future | unsupported | what is known after the last step only is used at each step, or by another loop over time | stream what comes before it
streamify.node.count | unsupported | an op asks how many steps there are, or draws a number for each | leave it out of what is streamed
streamify.recurrence.reverse | unsupported | a layer of a stream runs backwards | train it with one direction, FWD
streamify.recurrence.window | unsupported | rows of a stream begin or end elsewhere than a placeholder of lengths says | give lengths as a placeholder
stream.outputs.missing | argument | a stream of nothing | name its outputs
stream.outputs.empty | argument | an output of a stream is an empty Var | give it a value
stream.graph.mixed | argument | an output of a stream belongs to another graph than its session's | make the session of that graph
stream.feed.placeholder | argument | a value is fed to what is no placeholder | feed placeholders
stream.sizes.unknown | argument | a size for time, or for a symbol that what is streamed has not | name the others; time is 1
stream.sizes.range | argument | a size is negative | give 0 or more
stream.sizes.differ | argument | a feed has another length than `.sizes` says | give one of them
stream.kernel.allocates | unsupported | a step holds a loop that no kernel runs whole | write it without a loop within the cell
stream.input.unknown | argument | no placeholder with time, of this stream | the text lists those that there are; lengths are none of them, a stream runs on
stream.input.dtype | argument | an input is asked for as another type | ask for its own
stream.output.unknown | argument | no output of this stream | take one that the text lists, or name it when the stream is made
stream.output.dtype | argument | an output is asked for as another type | ask for its own
stream.step.count | argument | step(x) of a stream with several inputs or outputs | use `input`, `step()` and `output`
stream.step.dim | argument | step(x) of another type or shape | the text says both
stream.row.range | argument | no such row of the batch | count from 0
stream.row.steps | unsupported | a row alone begins again in a stream that counts steps | reset all of it
stream.state.missing | argument | a state that is set lacks a value | take it from `state()` of the same graph
stream.state.type | argument | a state that is set has a value of another dtype or shape | take it from `state()` of the same graph and sizes
stream.state.count | argument | a state that is set has more values than the stream | take it from `state()` of the same graph
model.INPUT.placeholder | argument | an input of the model is no placeholder of its graph | give one
model.INPUT.type | argument | an input of the model has another rank or kind of dtype | the text says what it must have
model.logits.type | argument | logits are no float [B,V] | give one score for each class
model.logits.missing | argument | the model was made without logits | name them when the trainer is made
confusion.predicted.count | argument | not one prediction for each sequence | predict on the same data
confusion.predicted.range | argument | a prediction that is no class | give indices of classes
data.batch_size.range | argument | a batch of less than one sequence | give 1 or more
data.fraction.range | argument | a fraction outside of [0, 1] | give one in it
data.frames.missing | argument | a mean or deviation of no frame at all | give sequences with frames
data.label.range | argument | a label without a class | give as many classes as labels
data.rows.range | argument | a row that the data set has not | stay below `size()`
data.values.features | argument | sequences of different numbers of features | give all the same
data.values.type | argument | a sequence that is no f32 [T,I] | convert it
ts.header.data | argument | no line "@data", or data before it | mend the file
ts.header.timestamps | argument | time stamps | convert the file to one without
ts.header.target | argument | numbers as targets | give classes
ts.header.dimensions | argument | a number of channels that is no number | mend the line
ts.header.classes | argument | no classes, or one twice | mend the line "@classLabel"
ts.case.channels | argument | a case with another number of channels | mend the line
ts.case.label | argument | a case without a class, or of an unknown one | mend the line
ts.case.length | argument | channels of a case differ in length | mend the line
ts.value.missing | argument | a missing value | fill it in
ts.value.number | argument | a value that is no number | mend it
ts.value.range | argument | a value that is not finite in f32 | mend it

weights.format.name | argument | there is no layout of this name | the text lists them
weights.format.enum | argument | a format that is no name of Format | set it by name
weights.format.packed | argument | one vector does not say which network it is of | give the network's sizes
weights.format.cell | argument | the layout has no such cell | the text says why; choose another layout
weights.format.reset | argument | the layout's GRU has its reset gate in another place | choose another layout, or train anew
weights.format.direction | argument | the layout holds one direction | convert each direction by itself
weights.format.projection | argument | the layout has no projection, or a narrower one | choose another layout
weights.format.peepholes | argument | the layout has no peephole weights | choose another layout
weights.format.bias | argument | a bias that the layout cannot hold is not 0 | choose another layout
weights.mode.range | argument | the network has no such mode | set it by name
weights.input_size.range | argument | less than one input | give 1 or more
weights.hidden_size.range | argument | less than one unit | give 1 or more
weights.layers.range | argument | no layers, or too many | the text gives the range
weights.projection_size.range | argument | a projection that is negative, or wider than the state | give 0 to hidden_size
weights.projection_size.mode | argument | a projection of another cell than an LSTM | set mode lstm
weights.peepholes.mode | argument | peepholes of another cell than an LSTM | set mode lstm
weights.tensors.missing | argument | a tensor that the layout needs is not there | the text lists those that are
weights.tensors.unknown | argument | a tensor that the layout does not know | take it out, or choose another layout
weights.tensors.shape | argument | a tensor has another shape than the layout says | the text shows both
weights.tensors.dtype | argument | tensors differ in dtype, or are no floats | convert them to one of f32, f64, bf16, f16

file.read.open | unsupported | the file cannot be opened | the text gives the system's reason
file.read.status | unsupported | the system tells nothing about the file | the text gives its reason
file.read.regular | unsupported | a folder, device or pipe, no file | give a file
file.read.failed | unsupported | reading failed | the text gives the system's reason
file.read.shrunk | unsupported | the file became shorter while it was read | read it again when nobody writes it
file.read.range | argument | bytes beyond the end are asked for | mend the caller
file.save.folder | unsupported | the folder cannot be opened; the old file stands | the text gives the system's reason
file.save.create | unsupported | no temporary file can be made; the old file stands | the text gives the system's reason
file.save.write | unsupported | writing failed; the old file stands | free space on the disk
file.save.sync | unsupported | the disk did not confirm; the old file stands | save elsewhere
file.save.rename | unsupported | the new file cannot take its place; the old file stands | the text gives the system's reason
file.save.sync_folder | unsupported | the new file is in place, but may be lost if the power fails now | save again
file.name.ending | argument | the name of a file ends neither in .rondo nor in .pb | choose one of them
file.name.refused | argument | a name of the file's graph is refused | the text gives the reason and its code
file.header.magic | argument | no .rondo file | give one; a protobuf file ends in .pb
file.header.version | unsupported | a newer version than this build reads; as the caller's fault: versions that contradict each other | use a newer Rondo
file.header.truncated | argument | shorter than header and footer | get the whole file
file.header.length | argument | another length than the header says | get the whole file
file.header.sizes | argument | the sizes in the header contradict each other | get an undamaged file
file.header.checksum | argument | the header is damaged | get an undamaged file
file.header.padding | argument | bytes that must be 0 are not | get an undamaged file
file.footer.checksum | argument | the footer is damaged | get an undamaged file
file.model.size | argument | more bytes than one protobuf message can hold | save it as .rondo, which keeps tensors beside the message
file.model.checksum | argument | the graphs are damaged | get an undamaged file
file.model.parse | argument | the graphs are no message of this schema | get an undamaged file
file.graph.name | argument | a graph without a name | mend the writer
file.graph.duplicate | argument | a graph stands twice | mend the writer
file.graph.streams | argument | a negative counter of random streams | mend the writer
file.graph.nodes | argument | more nodes than allowed | raise Limits if the file is yours
file.node.op | unsupported | the file uses an op that this program does not know | register it before loading, or use a newer Rondo
file.node.op_version | unsupported | an op of a newer version | use a newer Rondo
file.node.body | argument | a leaf with a body | mend the writer
file.node.slots | argument | not as many slots as operands or outputs | mend the writer
file.node.refused | argument | the op refuses the node | the text gives the reason and its code
file.node.depth | argument | bodies stand too deep in bodies | make the nesting flatter
file.body.input | argument | an input of a body is no placeholder of it, or is given twice | mend the writer
file.body.open | argument | a body needs a placeholder that is no input | mend the writer
file.attribute.duplicate | argument | an attribute stands twice | mend the writer
file.attribute.dtype | argument | an attribute names an unknown dtype | mend the writer
file.attribute.tensor | argument | an attribute refers to a tensor that the file has not | mend the writer
file.attribute.value | argument | an attribute of an unknown type | use a newer Rondo
file.shape.dim | argument | a dimension that cannot be read, or written | mend the writer
file.tensor.name | argument | a tensor without a name | mend the writer
file.tensor.dtype | argument | a tensor of an unknown dtype | use a newer Rondo
file.tensor.dim | argument | a dimension out of range | raise Limits if the file is yours
file.tensor.size | argument | a size that does not fit 64 bits | mend the writer
file.tensor.length | argument | more or fewer bytes than dtype and shape say | mend the writer
file.tensor.duplicate | argument | a tensor stands twice | mend the writer
file.tensor.memory | unsupported | there is not the memory to hold a tensor | free some
file.tensor.checksum | argument | a tensor's bytes are damaged | get an undamaged file
file.tensor.section_checksum | argument | the tensors are damaged | get an undamaged file
file.tensor.bool | argument | a byte of a bool is neither 0 nor 1 | mend the writer
file.tensor.inline | argument | a tensor within the graphs of a .rondo file | mend the writer
file.tensor.range | argument | a tensor's bytes lie elsewhere than the table says | get an undamaged file
file.tensor.padding | argument | bytes between tensors are not 0 | get an undamaged file
file.tensor.missing | argument | an empty tensor cannot be saved | give it a value
file.tensor.reserved | argument | a name of a tensor begins with '%' | choose another
file.checkpoint.attribute | argument | no checkpoint: an attribute is missing or of another type | load it with `load_bundle`, or give the file that `save` wrote
file.checkpoint.precision | argument | a training is to go on in another precision than the file's | leave it out of `LoadOptions::compile`, or ask for the file's
file.checkpoint.graph | argument | no checkpoint: it has no such graph | the same
file.checkpoint.value | argument | a name that the graph has not | get an undamaged file
file.checkpoint.updater | argument | a tensor of the updater is missing | get an undamaged file; `load_model` needs none
file.safetensors.truncated | argument | shorter than its header says | get the whole file
file.safetensors.header_length | argument | a header of more than 100 MB | get an undamaged file
file.safetensors.json | argument | the header is no JSON object | get an undamaged file
file.safetensors.key | argument | an unknown key in a tensor's entry | mend the writer
file.safetensors.entry | argument | an entry lacks dtype, shape or data_offsets, or has another type there | mend the writer
file.safetensors.duplicate | argument | a key stands twice | mend the writer
file.safetensors.name_length | argument | an empty name, or one that is too long | mend the writer
file.safetensors.tensors | argument | more tensors than allowed | raise Limits if the file is yours
file.safetensors.rank | argument | more dimensions than allowed | raise Limits if the file is yours
file.safetensors.offsets | argument | a tensor's range of bytes is no pair, or backwards | mend the writer
file.safetensors.coverage | argument | tensors overlap, or leave bytes out | mend the writer
file.safetensors.length | argument | more or fewer bytes than dtype and shape say | mend the writer
file.safetensors.size | argument | a size that does not fit 64 bits | mend the writer
file.safetensors.dtype | unsupported | a dtype that Rondo has not | convert it before
file.safetensors.memory | unsupported | there is not the memory to hold a tensor | free some
file.safetensors.bool | argument | a byte of a bool is neither 0 nor 1 | mend the writer
file.safetensors.utf8 | argument | a name or text that is saved is no UTF-8 | encode it
file.safetensors.tensor | argument | an empty tensor, or one without a name or with a reserved one, cannot be saved | give it a value, or another name
file.MESSAGE.truncated | argument | a part of the graphs is cut off | get an undamaged file
file.MESSAGE.wire | argument | the graphs are no protobuf | get an undamaged file
file.MESSAGE.unknown_field | argument | a field that this version of the format has not | get an undamaged file
file.MESSAGE.repeated | argument | a field that may be given once is given twice | mend the writer
file.MESSAGE.utf8 | argument | a text that is no UTF-8 | encode it
file.MESSAGE.density | argument | more nodes and tensors than so few bytes can hold | get an undamaged file
file.MESSAGE.depth | argument | bodies stand too deep in bodies | make the nesting flatter
file.MESSAGE.graphs | argument | more graphs than allowed | raise Limits if the file is yours
file.MESSAGE.nodes | argument | more nodes than allowed | raise Limits if the file is yours
file.MESSAGE.names | argument | more names than allowed | raise Limits if the file is yours
file.MESSAGE.tensors | argument | more tensors than allowed | raise Limits if the file is yours
file.MESSAGE.inputs | argument | more operands than allowed | raise Limits if the file is yours
file.MESSAGE.attributes | argument | more attributes than allowed | raise Limits if the file is yours
file.MESSAGE.strings | argument | more texts in lists than allowed | raise Limits if the file is yours
file.MESSAGE.text_length | argument | a text longer than allowed | raise Limits if the file is yours
file.MESSAGE.name_length | argument | an empty name, or one longer than allowed | choose a shorter one
file.MESSAGE.rank | argument | more dimensions than allowed | raise Limits if the file is yours
file.MESSAGE.dim | argument | a dimension with brackets or too many operators | write it out
file.MESSAGE.dim_length | argument | a dimension longer than allowed | use a symbol of its own for it
file.MESSAGE.reference | argument | a reference to a node that does not come before | get an undamaged file
file.MESSAGE.slot | argument | a reference to a result that its node has not | get an undamaged file

verify.path.missing | argument | `rondo verify`: no such file or folder | give one
verify.dtype.value | argument | `rondo verify`: vectors do not run in this dtype | give f64, f32, bf16 or f16
verify.file.json | argument | a file of vectors holds no JSON where it must | mend the file
verify.file.metadata | argument | a file of vectors lacks a key | mend the file
verify.file.tensor | argument | a file of vectors lacks a tensor | mend the file
verify.file.cotangent | argument | a cotangent of a result that the op does not give | mend the file
verify.file.gradient | argument | a gradient of an operand that is not there | mend the file
verify.names.value | unsupported | a file of vectors uses the names of a system that is not known | use those of rondo, or name none
verify.op.unknown | unsupported | no op of this build answers to the name | add an alias to its definition
verify.config.unknown | unsupported | an option of the file that has no meaning here | add an alias to the op's definition
verify.config.type | unsupported | an option of the file has a type that the attribute cannot take | mend the file
verify.config.mode | unsupported | a mode of the file that there is not | mend the file
verify.tensor.unknown | unsupported | a tensor of the file that no operand or result answers to | add an alias to the op's definition
verify.tensor.kind | unsupported | a tensor of the file is neither operand, result nor gradient | mend the file
inspect.bind.syntax | argument | `rondo inspect --bind` without SYMBOL=NUMBER | write it so
inspect.bind.symbol | argument | no placeholder has this symbol | the text lists those that there are
bench.cell.unknown | argument | `rondo bench` knows no such cell | `rondo bench --help` lists them
bench.form.offered | argument | this form of the cell has no lengths, or one direction only | give `--form scan`
bench.recompute.mode | argument | `--recompute` with a mode that has no gradients | give `--mode train`
bench.kernel.unused | argument | the kernel of `--kernel` runs no step of the network | the text says why; `rondo bench --explain` shows what would run
bench.hidden.dim | argument | an sru's input is not as wide as its state | give `--hidden` as large as `--input`
)table";

std::vector<ErrorCode> parsed() {
  std::vector<ErrorCode> r;
  const auto take = [](std::string_view& text, std::string_view end) {
    const std::string_view part = text.substr(0, text.find(end));
    text.remove_prefix(std::min(text.size(), part.size() + end.size()));
    return part;
  };
  for (std::string_view rest = kTable; !rest.empty();) {
    std::string_view line = take(rest, "\n");
    if (line.empty()) continue;
    ErrorCode& e = r.emplace_back();
    for (std::string_view* field : {&e.code, &e.fault, &e.means, &e.remedy})
      *field = take(line, " | ");
  }
  return r;
}

}  // namespace

std::span<const ErrorCode> error_codes() {
  static const std::vector<ErrorCode> kCodes = parsed();
  return kCodes;
}

}  // namespace rondo::tool
