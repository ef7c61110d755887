-- Makes the worlds of runs. Given once: what every script finds (`base`), Lua's own libraries and
-- ours (`libraries`), what `redis` has beside its commands (`common`), where a script stands, and
-- what an error that is no text and no table says. Gives what runs a script, what loads a library,
-- and what calls a function of one.
local base, libraries, common, line_of_script, text_of = ...
local error, tostring, type, xpcall, setmetatable = error, tostring, type, xpcall, setmetatable
local pcall = pcall

local function frozen()
    error("Attempt to modify a readonly table", 2)
end

-- As in Redis 7, what `redis.call` has raised is a text for those who catch it.
local function caught(good, problem, ...)
    if not good and type(problem) == "table" and problem.err ~= nil then
        problem = problem.err
    elseif not good and type(problem) == "userdata" then
        problem = text_of(problem)
    end
    return good, problem, ...
end

function base.pcall(...)
    return caught(pcall(...))
end

local absent = {
    __index = function(_, name)
        error("Script attempted to access nonexistent global variable '" .. tostring(name) .. "'", 2)
    end,
}
setmetatable(base, absent)

-- A table that shows another one and cannot be written to; what is forced into it goes with the run.
local function shown(of)
    return setmetatable({}, { __index = of, __newindex = frozen, __metatable = false })
end

local function explained(problem)
    if type(problem) == "userdata" then
        local text, whole = text_of(problem)
        problem = { err = whole and text or "ERR " .. text }
    elseif type(problem) ~= "table" then
        problem = { err = "ERR " .. tostring(problem) }
    end
    if problem.line == nil then
        problem.line = line_of_script()
    end
    return problem
end

-- What is the same in the worlds of scripts and of functions; `whole` is what is seen of it.
local function furnished(world, whole, setfenv, compile, call, pcalled, log, setresp, may)
    local own = { call = call, pcall = pcalled, log = log, setresp = setresp, acl_check_cmd = may }
    world.redis = shown(setmetatable(own, { __index = common }))
    world.server = world.redis
    for name, library in next, libraries do
        world[name] = shown(library)
    end
    world._G = whole
    function world.loadstring(text, name)
        local chunk, problem = compile(text, name)
        if chunk then
            setfenv(chunk, whole)
        end
        return chunk, problem
    end
    return world
end

local function run(script, setfenv, compile, call, pcalled, log, setresp, may, keys, arguments)
    local world = { KEYS = keys, ARGV = arguments }
    furnished(world, world, setfenv, compile, call, pcalled, log, setresp, may)
    setmetatable(world, { __index = base, __newindex = frozen, __metatable = false })
    setfenv(script, world)
    return xpcall(script, explained)
end

-- Functions keep the world in which their library was loaded: it shows what there is at the time.
local there = {}
local lasting = setmetatable({}, {
    __index = function(_, name)
        local value = there[name]
        if value == nil then
            error(
                "Script attempted to access nonexistent global variable '" .. tostring(name) .. "'",
                2
            )
        end
        return value
    end,
    __newindex = frozen,
    __metatable = false,
})

local function load(library, setfenv, register, log)
    local own = { register_function = register, log = log }
    for name, value in next, common do
        if type(value) == "number" or type(value) == "string" then
            own[name] = value
        end
    end
    setmetatable(own, absent)
    there = { redis = shown(own) }
    there.server = there.redis
    setfenv(library, lasting)
    local good, problem = xpcall(library, explained)
    there = {}
    return good, problem
end

local function invoke(callback, setfenv, compile, call, pcalled, log, setresp, may, keys, arguments)
    local world = {}
    for name, value in next, base do
        world[name] = value
    end
    there = furnished(world, lasting, setfenv, compile, call, pcalled, log, setresp, may)
    local good, value = xpcall(function()
        return (callback(keys, arguments))
    end, explained)
    there = {}
    return good, value
end

return { run = run, load = load, invoke = invoke }
